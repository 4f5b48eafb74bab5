* Write driver: while en is high, pulls bl low to write d = 0, or blb low to write d = 1; else both are open.
* Ports: d data, en write enable (active high), bl and blb bitlines, vdd and vss supplies.
* Parameter: drive, the width of the pull-downs and of their drivers times it.
* The line that stays high is left to its precharged charge: the cell's access device needs only the low side.
.subckt write_driver d en bl blb vdd vss drive=1
xdn d dn vdd vss inv
xl en dn lowl_n vdd vss nand2
xr en d lowr_n vdd vss nand2
xli lowl_n pull_l vdd vss inv drive=drive
xri lowr_n pull_r vdd vss inv drive=drive
xml bl pull_l vss vss nmos w='5*drive*wmin' l=lmin
xmr blb pull_r vss vss nmos w='5*drive*wmin' l=lmin
.ends write_driver

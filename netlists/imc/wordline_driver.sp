* Wordline driver: wl = row·en.
* Ports: row decoded address, en timing, wl wordline, vdd and vss supplies. Parameter: drive of the last stage.
.subckt wordline_driver row en wl vdd vss drive=8
xg row en wb vdd vss nand2 drive='0.25*drive'
xd wb wl vdd vss inv drive={drive}
.ends wordline_driver

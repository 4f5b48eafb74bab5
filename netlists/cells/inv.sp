* Inverter: y = not a.
* Ports: a in, y out, vdd and vss supplies. Parameter: drive, both widths times it.
.subckt inv a y vdd vss drive=1
xn y a vss vss nmos w='2*drive*wmin' l=lmin
xp y a vdd vdd pmos w='3*drive*wmin' l=lmin
.ends inv

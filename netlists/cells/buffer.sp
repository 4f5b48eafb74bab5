* Buffer: y = a, two inverters, the second `drive` times as wide.
* Ports: a in, y out, vdd and vss supplies. Parameter: drive.
.subckt buffer a y vdd vss drive=3
x1 a ab vdd vss inv drive=1
x2 ab y vdd vss inv drive={drive}
.ends buffer

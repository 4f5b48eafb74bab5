* Two-input NOR: y = not (a or b). b is nearer to the output.
* Ports: a b in, y out, vdd and vss supplies. Parameter: drive.
.subckt nor2 a b y vdd vss drive=1
xna y a vss vss nmos w='2*drive*wmin' l=lmin
xnb y b vss vss nmos w='2*drive*wmin' l=lmin
xpa m a vdd vdd pmos w='6*drive*wmin' l=lmin
xpb y b m vdd pmos w='6*drive*wmin' l=lmin
.ends nor2

* Two-input NAND: y = not (a and b). b is nearer to the output.
* Ports: a b in, y out, vdd and vss supplies. Parameter: drive.
.subckt nand2 a b y vdd vss drive=1
xna m a vss vss nmos w='3*drive*wmin' l=lmin
xnb y b m vss nmos w='3*drive*wmin' l=lmin
xpa y a vdd vdd pmos w='3*drive*wmin' l=lmin
xpb y b vdd vdd pmos w='3*drive*wmin' l=lmin
.ends nand2

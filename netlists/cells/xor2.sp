* Two-input XOR, static complementary with inverted inputs made inside: y = a xor b. 12 transistors.
* Ports: a b in, y out, vdd and vss supplies.
.subckt xor2 a b y vdd vss
xia a ab vdd vss inv
xib b bb vdd vss inv
xn1 n1 a vss vss nmos w='3*wmin' l=lmin
xn2 y b n1 vss nmos w='3*wmin' l=lmin
xn3 n2 ab vss vss nmos w='3*wmin' l=lmin
xn4 y bb n2 vss nmos w='3*wmin' l=lmin
xp1 p1 a vdd vdd pmos w='5*wmin' l=lmin
xp2 y bb p1 vdd pmos w='5*wmin' l=lmin
xp3 p2 ab vdd vdd pmos w='5*wmin' l=lmin
xp4 y b p2 vdd pmos w='5*wmin' l=lmin
.ends xor2

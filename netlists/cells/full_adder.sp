* Full adder, the 28-transistor mirror adder: s = a xor b xor ci, co = majority(a, b, ci).
* Carry stack and sum stack are their own mirror images, so no pMOS network is the dual of its nMOS one.
* Ports: a b ci in, s sum, co carry, vdd and vss supplies.
.subckt full_adder a b ci s co vdd vss
* inverted carry: ci·(a+b) + a·b
xnc1 n1 a vss vss nmos w='3*wmin' l=lmin
xnc2 n1 b vss vss nmos w='3*wmin' l=lmin
xnc3 cb ci n1 vss nmos w='3*wmin' l=lmin
xnc4 n2 b vss vss nmos w='3*wmin' l=lmin
xnc5 cb a n2 vss nmos w='3*wmin' l=lmin
xpc1 p1 a vdd vdd pmos w='5*wmin' l=lmin
xpc2 p1 b vdd vdd pmos w='5*wmin' l=lmin
xpc3 cb ci p1 vdd pmos w='5*wmin' l=lmin
xpc4 p2 b vdd vdd pmos w='5*wmin' l=lmin
xpc5 cb a p2 vdd pmos w='5*wmin' l=lmin
* inverted sum: cb·(a+b+ci) + a·b·ci
xns1 n3 a vss vss nmos w='3*wmin' l=lmin
xns2 n3 b vss vss nmos w='3*wmin' l=lmin
xns3 n3 ci vss vss nmos w='3*wmin' l=lmin
xns4 sb cb n3 vss nmos w='3*wmin' l=lmin
xns5 n4 b vss vss nmos w='4*wmin' l=lmin
xns6 n5 a n4 vss nmos w='4*wmin' l=lmin
xns7 sb ci n5 vss nmos w='4*wmin' l=lmin
xps1 p3 a vdd vdd pmos w='5*wmin' l=lmin
xps2 p3 b vdd vdd pmos w='5*wmin' l=lmin
xps3 p3 ci vdd vdd pmos w='5*wmin' l=lmin
xps4 sb cb p3 vdd pmos w='5*wmin' l=lmin
xps5 p4 b vdd vdd pmos w='7*wmin' l=lmin
xps6 p5 a p4 vdd pmos w='7*wmin' l=lmin
xps7 sb ci p5 vdd pmos w='7*wmin' l=lmin
xic cb co vdd vss inv
xis sb s vdd vss inv
.ends full_adder

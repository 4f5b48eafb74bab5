* Half adder: s = a xor b, co = a and b. 18 transistors.
* Ports: a b in, s sum, co carry, vdd and vss supplies.
.subckt half_adder a b s co vdd vss
xs a b s vdd vss xor2
xc a b cb vdd vss nand2
xo cb co vdd vss inv
.ends half_adder

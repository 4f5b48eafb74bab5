* Two-input multiplexer of transmission gates with a driven output: y = s ? b : a. 14 transistors.
* Ports: a b data in, s select, y out, vdd and vss supplies.
.subckt mux2 a b s y vdd vss
xis s sb vdd vss inv
xia a ai vdd vss inv
xib b bi vdd vss inv
xna ai sb t vss nmos w='2*wmin' l=lmin
xpa ai s t vdd pmos w='2*wmin' l=lmin
xnb bi s t vss nmos w='2*wmin' l=lmin
xpb bi sb t vdd pmos w='2*wmin' l=lmin
xo t y vdd vss inv
.ends mux2

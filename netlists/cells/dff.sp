* Flip-flop, rising edge: transmission-gate master and slave, clocked-inverter feedback. 24 transistors.
* Ports: d data, clk clock, q out, vdd and vss supplies. Two inverters make the local clock phases.
.subckt dff d clk q vdd vss
xc1 clk cb vdd vss inv
xc2 cb c vdd vss inv
* master, transparent while the clock is low
xnm d cb m vss nmos w='2*wmin' l=lmin
xpm d c m vdd pmos w='2*wmin' l=lmin
xim m mb vdd vss inv
xfm mb cb c m vdd vss dff_keeper
* slave, transparent while the clock is high
xns mb c s vss nmos w='2*wmin' l=lmin
xps mb cb s vdd pmos w='2*wmin' l=lmin
xis s q vdd vss inv
xfs q c cb s vdd vss dff_keeper
.ends dff

* Weak clocked inverter: drives y = not a while off is low and on is high.
.subckt dff_keeper a off on y vdd vss
xn1 n1 a vss vss nmos w=wmin l=lmin
xn2 y on n1 vss nmos w=wmin l=lmin
xp1 p1 a vdd vdd pmos w=wmin l=lmin
xp2 y off p1 vdd pmos w=wmin l=lmin
.ends dff_keeper

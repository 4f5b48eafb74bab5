* Clock gate: gck = clk while enabled, else low. A latch, transparent while the clock is low, and an AND. 20 transistors.
* Ports: en enable, clk clock, gck gated clock out, vdd and vss supplies.
.subckt clock_gate en clk gck vdd vss
xc1 clk cb vdd vss inv
xc2 cb c vdd vss inv
xni en cb m vss nmos w='2*wmin' l=lmin
xpi en c m vdd pmos w='2*wmin' l=lmin
xim m mb vdd vss inv
xiq mb q vdd vss inv
* feedback while the clock is high
xnf q c m vss nmos w=wmin l=lmin
xpf q cb m vdd pmos w=wmin l=lmin
xan q clk gb vdd vss nand2
xai gb gck vdd vss inv
.ends clock_gate

* Dynamic compute wire: precharge pMOS, keeper, and the inverter that senses the wire.
* The keeper is weak (long channel) and lets go when the wire falls; it holds a wire that should stay high
* against leakage and charge sharing.
* Ports: dlo the wire, pcb precharge (active low), y = not dlo, vdd and vss supplies.
.subckt compute_wire dlo pcb y vdd vss
xpp dlo pcb vdd vdd pmos w='4*wmin' l=lmin
xpk dlo y vdd vdd pmos w=wmin l='2*lmin'
xi dlo y vdd vss inv
.ends compute_wire

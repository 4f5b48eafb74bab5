* Bitline precharge: a pMOS to VDD on each bitline and an equaliser between them.
* Ports: bl and blb bitlines, pcb precharge (active low), vdd supply (also the well).
* Parameter: drive, all three widths times it; 1 is meant for a column of 16 rows.
.subckt precharge bl blb pcb vdd drive=1
xpl bl pcb vdd vdd pmos w='3*drive*wmin' l=lmin
xpr blb pcb vdd vdd pmos w='3*drive*wmin' l=lmin
xpe bl pcb blb vdd pmos w='2*drive*wmin' l=lmin
.ends precharge

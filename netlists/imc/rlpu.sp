* Reconfigurable local processing unit, 4 transistors: pulls dlo low when inp·w + inn·wb, so
* dlo = not(inp·w + inn·wb) on a wire that was precharged. w and wb are the read bitlines of one cell.
* AND: inp = in, inn = 0 (dlo is its inverse). OR: inp = 0, inn = not in. XOR: inp = in, inn = not in.
* Ports: inp inn inputs, w wb bitlines, dlo the dynamic wire, vss ground.
.subckt rlpu inp inn w wb dlo vss
xn1 dlo inp n1 vss nmos w='2*wmin' l=lmin
xn2 n1 w vss vss nmos w='2*wmin' l=lmin
xn3 dlo inn n2 vss nmos w='2*wmin' l=lmin
xn4 n2 wb vss vss nmos w='2*wmin' l=lmin
.ends rlpu

* Column multiplexer of one column: joins its bitline pair to the pair of its processing unit.
* Transmission gates, since the pair must swing from rail to rail.
* Ports: bl blb column, w wb processing unit, sel selb select and its inverse, vdd and vss (wells).
.subckt column_mux bl blb w wb sel selb vdd vss
xn1 bl sel w vss nmos w='2*wmin' l=lmin
xp1 bl selb w vdd pmos w='2*wmin' l=lmin
xn2 blb sel wb vss nmos w='2*wmin' l=lmin
xp2 blb selb wb vdd pmos w='2*wmin' l=lmin
.ends column_mux

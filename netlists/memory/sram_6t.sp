* 6T SRAM cell, widths as in OpenRAM's freepdk45 cell_1rw: pull-down 205 nm, pass gate 135 nm, pull-up 90 nm.
* Ports: bl and blb bitlines, wl wordline, vdd and vss supplies. Inside: q on bl's side, qb on blb's side.
* Parameters: none; widths are multiples of the global wmin, so the ratios carry to another process.
.subckt sram_6t bl blb wl vdd vss
xpul q qb vdd vdd pmos_pu w=wmin l=lmin
xpdl q qb vss vss nmos_pd w='2.28*wmin' l=lmin
xpur qb q vdd vdd pmos_pu w=wmin l=lmin
xpdr qb q vss vss nmos_pd w='2.28*wmin' l=lmin
xpgl bl wl q vss nmos_pg w='1.5*wmin' l=lmin
xpgr blb wl qb vss nmos_pg w='1.5*wmin' l=lmin
.ends sram_6t

* Input logic: the two lines of a compartment's processing units, held low until the bitlines have fallen.
* inp = in·use_p·en, inn = not(in)·use_n·en. AND: use_p. OR: use_n. XOR: both.
* Ports: in serial bit, use_p use_n operation, enb evaluate (active low), inp inn out, vdd and vss supplies.
* Parameter: drive of the line drivers.
.subckt input_logic in use_p use_n enb inp inn vdd vss drive=4
xi in inb vdd vss inv
xp1 in use_p p1 vdd vss nand2
xp2 p1 enb p2 vdd vss nor2
xp3 p2 p3 vdd vss inv drive='0.5*drive'
xp4 p3 inp vdd vss inv drive={drive}
xn1 inb use_n n1 vdd vss nand2
xn2 n1 enb n2 vdd vss nor2
xn3 n2 n3 vdd vss inv drive='0.5*drive'
xn4 n3 inn vdd vss inv drive={drive}
.ends input_logic

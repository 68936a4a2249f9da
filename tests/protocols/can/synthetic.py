"""Small databases with what public files lack."""

from protocols.frames import CAN_EFF_FLAG

HEAD = 'VERSION ""\nNS_ :\nBS_:\nBU_: XXX\n'

PLAIN = f"""{HEAD}
BO_ 1 PLAIN: 8 XXX
 SG_ ONE_BIT : 3|1@1+ (1,0) [0|0] "" XXX
 SG_ SIGNED_LE : 5|11@1- (0.1,-40) [0|0] "degC" XXX
 SG_ SIGNED_BE : 23|12@0- (-0.5,0) [0|0] "" XXX
 SG_ MOTOROLA : 26|19@0+ (3,-7) [0|0] "" XXX
 SG_ ONE_BIT_SIGNED : 48|1@1- (1,0) [0|0] "" XXX
BO_ 2 ALL_64: 8 XXX
 SG_ U64 : 0|64@1+ (1,0) [0|0] "" XXX
BO_ 3 ALL_64_BE: 8 XXX
 SG_ U64_BE : 7|64@0+ (3,-5) [0|0] "" XXX
BO_ 4 ALL_64_SIGNED: 8 XXX
 SG_ S64 : 0|64@1- (7,11) [0|0] "" XXX
BO_ 5 WIDE_FRACTION: 8 XXX
 SG_ S60 : 2|60@1- (0.3,9) [0|0] "" XXX
BO_ 6 WIDE_WHOLE: 8 XXX
 SG_ U55 : 4|55@1+ (5,0.25) [0|0] "" XXX
BO_ {0x18FEF100 | CAN_EFF_FLAG} EXTENDED: 8 XXX
 SG_ SPEED : 8|16@1+ (0.00390625,0) [0|0] "km/h" XXX
BO_ {0x1 | CAN_EFF_FLAG} LOW_EXTENDED: 8 XXX
 SG_ LOW : 8|16@1+ (2.5,0) [0|0] "" XXX
"""

FLOATS = f"""{HEAD}
BO_ 1 SINGLES: 8 XXX
 SG_ F32 : 0|32@1- (1,0) [0|0] "" XXX
 SG_ F32_BE : 39|32@0- (2,0.5) [0|0] "" XXX
BO_ 2 DOUBLE: 8 XXX
 SG_ F64 : 0|64@1- (1,0) [0|0] "" XXX
BO_ 3 HALF: 8 XXX
 SG_ F16 : 8|16@1- (1,0) [0|0] "" XXX
 SG_ INT_BESIDE : 24|16@1- (0.5,0) [0|0] "" XXX
SIG_VALTYPE_ 1 F32 : 1;
SIG_VALTYPE_ 1 F32_BE : 1;
SIG_VALTYPE_ 2 F64 : 2;
SIG_VALTYPE_ 3 F16 : 1;
"""

LONG = f"""{HEAD}
BO_ 1 LONG: 64 XXX
 SG_ FIRST : 0|8@1+ (1,0) [0|0] "" XXX
 SG_ ACROSS_WORDS : 61|7@1+ (1,0) [0|0] "" XXX
 SG_ NINE_BYTES : 71|64@1+ (1,0) [0|0] "" XXX
 SG_ NINE_BYTES_BE : 162|62@0- (0.5,1) [0|0] "" XXX
 SG_ FLOAT_FAR : 301|32@1- (1,0) [0|0] "" XXX
 SG_ BE_FAR : 352|33@0- (1,0) [0|0] "" XXX
 SG_ LAST : 448|64@1- (1,0) [0|0] "" XXX
BO_ 2 SHORT: 8 XXX
 SG_ SMALL : 7|16@0+ (0.01,0) [0|0] "" XXX
SIG_VALTYPE_ 1 FLOAT_FAR : 1;
"""

NESTED = f"""{HEAD}
BO_ 1 NESTED: 8 XXX
 SG_ OUTER M : 0|4@1+ (1,0) [0|0] "" XXX
 SG_ INNER m1M : 4|4@1+ (1,0) [0|0] "" XXX
 SG_ DEEP m2M : 8|4@1+ (1,0) [0|0] "" XXX
 SG_ OUTER_0 m0 : 8|16@1+ (0.5,0) [0|0] "" XXX
 SG_ INNER_0 m0 : 16|8@1+ (1,0) [0|0] "" XXX
 SG_ INNER_3_5 m3 : 16|8@1- (1,0) [0|0] "" XXX
 SG_ DEEP_1 m1 : 24|8@1- (1,0) [0|0] "" XXX
 SG_ ALWAYS : 56|8@1+ (1,0) [0|0] "" XXX
BO_ 2 SIMPLE: 4 XXX
 SG_ SWITCH M : 7|8@0+ (1,0) [0|0] "" XXX
 SG_ A m0 : 8|8@1+ (1,0) [0|0] "" XXX
 SG_ B m1 : 8|16@1+ (1,0) [0|0] "" XXX
SG_MUL_VAL_ 1 INNER OUTER 1-1;
SG_MUL_VAL_ 1 OUTER_0 OUTER 0-0;
SG_MUL_VAL_ 1 DEEP INNER 2-2;
SG_MUL_VAL_ 1 INNER_0 INNER 0-0;
SG_MUL_VAL_ 1 INNER_3_5 INNER 3-5, 9-9;
SG_MUL_VAL_ 1 DEEP_1 DEEP 1-1;
"""

KCD = """<?xml version="1.0" encoding="UTF-8"?>
<NetworkDefinition xmlns="http://kayak.2codeornot2code.org/1.0">
 <Document name="d"/>
 <Bus name="main">
  <Message id="0x1" name="M" length="8">
   <Multiplex name="MUX" offset="0" length="4">
    <MuxGroup count="2">
     <Signal name="IN_2" offset="8" length="12"><Value type="signed"/></Signal>
    </MuxGroup>
    <MuxGroup count="3">
     <Signal name="IN_3" offset="8" length="9"/>
    </MuxGroup>
   </Multiplex>
   <Signal name="BIG" endianess="big" offset="32" length="16">
    <Value slope="0.25" intercept="-10" unit="V"/>
   </Signal>
  </Message>
  <Message id="0x18FEF100" format="extended" name="X" length="8">
   <Signal name="F" offset="0" length="32"><Value type="single"/></Signal>
  </Message>
 </Bus>
</NetworkDefinition>
"""

SYM = """FormatVersion=6.0 // Do not edit this line!
Title="t"

{SIGNALS}
Sig=SPEED unsigned 16 /u:km/h /f:0.01
Sig=LEVEL signed 12 -m /o:3
Sig=DEPTH float

{SENDRECEIVE}

[PLAIN]
ID=123h
Len=8
Sig=SPEED 0
Sig=LEVEL 16

[WIDE]
ID=18FEF100h
Type=Extended
Len=8
Sig=DEPTH 8
"""

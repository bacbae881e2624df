"""The built-in label tables as plain text, one label per line: index, name, red, green, blue.

`napari_medzoo.label_tables` parses them; nothing else reads this file.
"""

from __future__ import annotations

ASEG = """
2 Left-Cerebral-White-Matter 245 245 245
3 Left-Cerebral-Cortex 205 62 78
4 Left-Lateral-Ventricle 120 18 134
5 Left-Inf-Lat-Vent 196 58 250
7 Left-Cerebellum-White-Matter 220 248 164
8 Left-Cerebellum-Cortex 230 148 34
10 Left-Thalamus 0 118 14
11 Left-Caudate 122 186 220
12 Left-Putamen 236 13 176
13 Left-Pallidum 12 48 255
14 3rd-Ventricle 204 182 142
15 4th-Ventricle 42 204 164
16 Brain-Stem 119 159 176
17 Left-Hippocampus 220 216 20
18 Left-Amygdala 103 255 255
24 CSF 60 60 60
25 Left-Lesion 255 165 0
26 Left-Accumbens-area 255 165 0
28 Left-VentralDC 165 42 42
30 Left-vessel 160 32 240
31 Left-choroid-plexus 0 200 200
41 Right-Cerebral-White-Matter 245 245 245
42 Right-Cerebral-Cortex 205 62 78
43 Right-Lateral-Ventricle 120 18 134
44 Right-Inf-Lat-Vent 196 58 250
46 Right-Cerebellum-White-Matter 220 248 164
47 Right-Cerebellum-Cortex 230 148 34
49 Right-Thalamus 0 118 14
50 Right-Caudate 122 186 220
51 Right-Putamen 236 13 176
52 Right-Pallidum 13 48 255
53 Right-Hippocampus 220 216 20
54 Right-Amygdala 103 255 255
57 Right-Lesion 255 165 0
58 Right-Accumbens-area 255 165 0
60 Right-VentralDC 165 42 42
62 Right-vessel 160 32 240
63 Right-choroid-plexus 0 200 221
72 5th-Ventricle 120 190 150
77 WM-hypointensities 200 70 255
78 Left-WM-hypointensities 255 148 10
79 Right-WM-hypointensities 255 148 10
80 non-WM-hypointensities 164 108 226
81 Left-non-WM-hypointensities 164 108 226
82 Right-non-WM-hypointensities 164 108 226
85 Optic-Chiasm 234 169 30
251 CC_Posterior 0 0 64
252 CC_Mid_Posterior 0 0 112
253 CC_Central 0 0 160
254 CC_Mid_Anterior 0 0 208
255 CC_Anterior 0 0 255
"""
"""FreeSurfer's names and colours (FreeSurferColorLUT.txt, FreeSurfer 7) of what an aseg volume holds."""

TISSUE = """
1 CSF 60 130 230
2 GM 205 62 78
3 WM 245 235 200
"""

ISEG = """
10 CSF 60 130 230
150 GM 205 62 78
250 WM 245 235 200
"""
"""iSEG-2017's spelling of the three tissues."""

MRBRAINS = """
1 cortical grey matter 205 62 78
2 basal ganglia 236 13 176
3 white matter 245 235 200
4 white matter lesions 255 200 0
5 CSF in the extracerebral space 60 130 230
6 ventricles 120 18 134
7 cerebellum 230 148 34
8 brain stem 119 159 176
9 infarction 160 82 45
10 other 128 128 128
"""
"""MRBrainS18 (mrbrains18.isi.uu.nl)."""

BRATS = """
1 necrotic and non-enhancing tumour core 220 50 47
2 oedema 60 180 75
4 enhancing tumour 255 215 0
"""

MUSE_SUBCORTICAL = """
1 CSF around the brain
4 3rd Ventricle
11 4th Ventricle
23 Right Accumbens Area
30 Left Accumbens Area
31 Right Amygdala
32 Left Amygdala
35 Brain Stem
36 Right Caudate
37 Left Caudate
38 Right Cerebellum Exterior
39 Left Cerebellum Exterior
40 Right Cerebellum White Matter
41 Left Cerebellum White Matter
46 CSF
47 Right Hippocampus
48 Left Hippocampus
49 Right Inf Lat Vent
50 Left Inf Lat Vent
51 Right Lateral Ventricle
52 Left Lateral Ventricle
55 Right Pallidum
56 Left Pallidum
57 Right Putamen
58 Left Putamen
59 Right Thalamus Proper
60 Left Thalamus Proper
61 Right Ventral DC
62 Left Ventral DC
69 Optic Chiasm
71 Cerebellar Vermal Lobules I-V
72 Cerebellar Vermal Lobules VI-VII
73 Cerebellar Vermal Lobules VIII-X
75 Left Basal Forebrain
76 Right Basal Forebrain
81 frontal lobe WM right
82 frontal lobe WM left
83 occipital lobe WM right
84 occipital lobe WM left
85 parietal lobe WM right
86 parietal lobe WM left
87 temporal lobe WM right
88 temporal lobe WM left
89 fornix right
90 fornix left
91 anterior limb of internal capsule right
92 anterior limb of internal capsule left
93 posterior limb of internal capsule right
94 posterior limb of internal capsule left
95 corpus callosum
"""

MUSE_CORTICAL = """
100 ACgG anterior cingulate gyrus
102 AIns anterior insula
104 AOrG anterior orbital gyrus
106 AnG angular gyrus
108 Calc calcarine cortex
112 CO central operculum
114 Cun cuneus
116 Ent entorhinal area
118 FO frontal operculum
120 FRP frontal pole
122 FuG fusiform gyrus
124 GRe gyrus rectus
128 IOG inferior occipital gyrus
132 ITG inferior temporal gyrus
134 LiG lingual gyrus
136 LOrG lateral orbital gyrus
138 MCgG middle cingulate gyrus
140 MFC medial frontal cortex
142 MFG middle frontal gyrus
144 MOG middle occipital gyrus
146 MOrG medial orbital gyrus
148 MPoG postcentral gyrus medial segment
150 MPrG precentral gyrus medial segment
152 MSFG superior frontal gyrus medial segment
154 MTG middle temporal gyrus
156 OCP occipital pole
160 OFuG occipital fusiform gyrus
162 OpIFG opercular part of the inferior frontal gyrus
164 OrIFG orbital part of the inferior frontal gyrus
166 PCgG posterior cingulate gyrus
168 PCu precuneus
170 PHG parahippocampal gyrus
172 PIns posterior insula
174 PO parietal operculum
176 PoG postcentral gyrus
178 POrG posterior orbital gyrus
180 PP planum polare
182 PrG precentral gyrus
184 PT planum temporale
186 SCA subcallosal area
190 SFG superior frontal gyrus
192 SMC supplementary motor cortex
194 SMG supramarginal gyrus
196 SOG superior occipital gyrus
198 SPL superior parietal lobule
200 STG superior temporal gyrus
202 TMP temporal pole
204 TrIFG triangular part of the inferior frontal gyrus
206 TTG transverse temporal gyrus
"""
"""Neuromorphometrics' cortical regions: the even index is the right side, the next odd one the left."""

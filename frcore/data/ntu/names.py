"""Action names of NTU RGB+D 60 and 120 (Shahroudy et al., CVPR 2016; Liu et al., TPAMI 2019).

As the data set's page lists them, in lower case. Label k is action A(k+1); NTU 60 is A1 to A60.
"""

_ROWS = (
    "drink water, eat meal, brush teeth, brush hair, drop",  # A1
    "pick up, throw, sit down, stand up, clapping",  # A6
    "reading, writing, tear up paper, put on jacket, take off jacket",  # A11
    "put on a shoe, take off a shoe, put on glasses, take off glasses, put on a hat/cap",  # A16
    "take off a hat/cap, cheer up, hand waving, kicking something, reach into pocket",  # A21
    "hopping, jump up, phone call, play with phone/tablet, type on a keyboard",  # A26
    "point to something, taking a selfie, check time (from watch), rub two hands, nod head/bow",
    "shake head, wipe face, salute, put palms together, cross hands in front",  # A36
    "sneeze/cough, staggering, falling down, headache, chest pain",  # A41
    "back pain, neck pain, nausea/vomiting, fan self, punch/slap",  # A46
    "kicking, pushing, pat on back, point finger, hugging",  # A51
    "giving object, touch pocket, shaking hands, walking towards, walking apart",  # A56
    "put on headphone, take off headphone, shoot at basket, bounce ball, tennis bat swing",  # A61
    "juggle table tennis ball, hush, flick hair, thumb up, thumb down",  # A66
    "make ok sign, make victory sign, staple book, counting money, cutting nails",  # A71
    "cutting paper, snap fingers, open bottle, sniff/smell, squat down",  # A76
    "toss a coin, fold paper, ball up paper, play magic cube, apply cream on face",  # A81
    "apply cream on hand, put on bag, take off bag, put object into bag, take object out of bag",
    "open a box, move heavy objects, shake fist, throw up cap/hat, capitulate",  # A91
    "cross arms, arm circles, arm swings, run on the spot, butt kicks",  # A96
    "cross toe touch, side kick, yawn, stretch oneself, blow nose",  # A101
    "hit with object, wield knife, knock over, grab stuff, shoot with gun",  # A106
    "step on foot, high-five, cheers and drink, carry object, take a photo",  # A111
    "follow, whisper, exchange things, support somebody, rock-paper-scissors",  # A116
)

NTU120_ACTIONS = tuple(name for row in _ROWS for name in row.split(", "))
NTU60_ACTIONS = NTU120_ACTIONS[:60]

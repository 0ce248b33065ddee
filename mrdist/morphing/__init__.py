"""Shape and appearance: a photograph's own pixels, moved and changed as those of other people were.

Points on the faces of pairs of photographs say how faces move from one expression to the other (`shapes`). Warped to
one shape, pixels of the pairs lie on each other, and a masked regression learns how they change. A new photograph is
warped by the movement and given the change (`morph`); what opened lips show, which it does not hold, is the picture
of those that training has seen (`mouths`). Everything is learnt from sums over images; nothing here reads or stores.
"""

"""Radiologists' words for the scores of LIDC-IDRI.

A clause states one level of one score; ``{it}`` stands for the nodule. The wordings of a level share its key
term, as a radiologist's do, and differ in syntax and in what goes with it. No string judges the nodule, none
but `SIZE_CLAUSES` tells its size: the tests hold every string against the forbidden words.

Source: levels of the scores as in Armato et al. 2011, Medical Physics 38(2), and pylidc's ``Annotation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["CLAUSES", "MARGIN_PHRASES", "SIZE_CLAUSES", "TEXTURE_ADJECTIVES"]

CLAUSES: Mapping[str, Mapping[int, Sequence[str]]] = {
    "subtlety": {
        1: (
            "{it} is extremely subtle and easily overlooked",
            "{it} is extremely subtle against the surrounding lung",
            "this is an extremely subtle finding",
            "the finding is extremely subtle, of very low conspicuity",
            "{it} is barely perceptible and extremely subtle",
        ),
        2: (
            "{it} is moderately subtle and could be missed on a quick read",
            "{it} is moderately subtle on lung windows",
            "this is a moderately subtle finding",
            "the finding is moderately subtle, of low conspicuity",
            "{it} is faint and moderately subtle",
        ),
        3: (
            "{it} is fairly subtle but identifiable",
            "{it} is fairly subtle on lung windows",
            "this is a fairly subtle finding",
            "the finding is fairly subtle, of intermediate conspicuity",
            "{it} is visible on careful review but fairly subtle",
        ),
        4: (  # moderately obvious
            "{it} is readily visible on lung windows",
            "{it} is readily seen and moderately conspicuous",
            "this is a readily visible finding",
            "the finding is readily visible, of good conspicuity",
            "{it} can be readily seen on routine review",
        ),
        5: (
            "{it} is obvious on first inspection",
            "{it} is obvious against the surrounding lung",
            "this is an obvious finding",
            "the finding is obvious, of excellent conspicuity",
            "{it} is highly conspicuous and obvious",
        ),
    },
    "internalStructure": {
        1: (
            "the internal composition is soft tissue",
            "{it} consists of soft tissue internally",
            "internal components are those of soft tissue",
            "internally there is soft tissue without fluid, fat, or air",
        ),
        2: (
            "the internal composition is fluid",
            "{it} contains fluid internally",
            "internal attenuation is that of fluid",
            "{it} has a cystic, fluid-filled interior",
        ),
        3: (
            "the internal composition is fat",
            "{it} contains macroscopic fat internally",
            "internal attenuation is in the fat range",
            "{it} has an interior of fat density",
        ),
        4: (
            "the internal composition is air",
            "{it} contains air internally",
            "internal attenuation is that of air",
            "{it} has a cavitary, air-filled interior",
        ),
    },
    "calcification": {
        1: (
            "popcorn calcification is present",
            "{it} contains coarse popcorn calcification",
            "there is popcorn-type calcification",
            "calcification has a popcorn configuration",
        ),
        2: (
            "laminated calcification is present",
            "{it} contains laminated, ring-like calcification",
            "there is laminated calcification in concentric layers",
            "calcification has a laminated pattern",
        ),
        3: (  # solid
            "dense, diffuse calcification is present",
            "{it} is diffusely and densely calcified",
            "there is dense calcification of the entire nodule",
            "calcification is dense and diffuse",
            "{it} shows diffuse, dense calcification",
        ),
        4: (  # non-central
            "eccentric calcification is present",
            "{it} contains eccentric, noncentral calcification",
            "there is eccentric calcification toward the periphery",
            "calcification is eccentric in location",
        ),
        5: (
            "central calcification is present",
            "{it} contains a central focus of calcification",
            "there is central calcification confined to the core",
            "calcification is central in location",
        ),
        6: (  # absent
            "no calcification is seen",
            "there is no calcification",
            "{it} contains no calcification",
            "no calcification is identified within the nodule",
            "{it} shows no calcification",
        ),
    },
    "sphericity": {
        1: (
            "{it} is linear in shape",
            "the shape is linear",
            "{it} has a linear configuration",
            "{it} is linear and band-like",
        ),
        2: (  # ovoid to linear
            "{it} is elongated in shape",
            "the shape is elongated, between ovoid and linear",
            "{it} has an elongated configuration",
            "{it} is elongated rather than oval",
            "{it} is oblong and elongated",
        ),
        3: (
            "{it} is ovoid in shape",
            "the shape is ovoid",
            "{it} has an ovoid configuration",
            "{it} is ovoid in outline",
            "{it} is an ovoid focus",
        ),
        4: (  # ovoid to round
            "{it} is nearly round in shape",
            "the shape is nearly round",
            "{it} has a nearly round configuration",
            "{it} is nearly round, slightly oval",
            "{it} is nearly spherical",
        ),
        5: (
            "{it} is round in shape",
            "the shape is round",
            "{it} has a round configuration",
            "{it} is round in outline",
            "{it} is round and spherical",
        ),
    },
    "margin": {
        1: (
            "margins are poorly defined",
            "the border is poorly defined",
            "{it} has poorly defined margins",
            "{it} is poorly defined against adjacent lung",
            "{it} is bounded by a poorly defined edge",
        ),
        2: (  # near poorly defined
            "margins are mostly indistinct",
            "the border is mostly indistinct",
            "{it} has mostly indistinct margins",
            "{it} is mostly indistinct against adjacent lung",
            "{it} is bounded by a mostly indistinct edge",
        ),
        3: (  # medium
            "margins are moderately defined",
            "the border is moderately defined, partly sharp and partly blurred",
            "{it} has moderately defined margins",
            "{it} is moderately defined against adjacent lung",
            "{it} is bounded by a moderately defined edge",
        ),
        4: (  # near sharp
            "margins are nearly sharp",
            "the border is nearly sharp",
            "{it} has nearly sharp margins",
            "the margin is nearly sharp, with slight blurring",
            "{it} is bounded by a nearly sharp edge",
        ),
        5: (
            "margins are sharply defined",
            "the border is sharply defined",
            "{it} has sharply defined margins",
            "{it} is sharply defined against adjacent lung",
            "{it} is sharply circumscribed",
        ),
    },
    "lobulation": {
        1: (
            "no lobulation is seen",
            "there is no lobulation",
            "{it} shows no lobulation",
            "no lobulation of the contour is identified",
            "the contour is smooth, with no lobulation",
        ),
        2: (  # nearly none
            "minimal lobulation is seen",
            "there is minimal lobulation",
            "{it} shows minimal lobulation",
            "minimal lobulation of the contour is identified",
            "the contour is nearly smooth, with minimal lobulation",
        ),
        3: (  # medium
            "moderate lobulation is seen",
            "there is moderate lobulation",
            "{it} shows moderate lobulation",
            "moderate lobulation of the contour is identified",
            "the contour undulates, with moderate lobulation",
        ),
        4: (  # near marked
            "considerable lobulation is seen",
            "there is considerable lobulation",
            "{it} shows considerable lobulation",
            "considerable lobulation of the contour is identified",
            "the contour is irregular, with considerable lobulation",
        ),
        5: (
            "marked lobulation is seen",
            "there is marked lobulation",
            "{it} shows marked lobulation",
            "marked lobulation of the contour is identified",
            "the contour is multilobular, with marked lobulation",
        ),
    },
    "spiculation": {
        1: (
            "no spiculation is seen",
            "there is no spiculation",
            "{it} shows no spiculation",
            "no spiculation of the surface is identified",
            "no spiculation extends into adjacent lung",
        ),
        2: (  # nearly none
            "minimal spiculation is seen",
            "there is minimal spiculation",
            "{it} shows minimal spiculation",
            "minimal spiculation of the surface is identified",
            "minimal spiculation extends into adjacent lung",
        ),
        3: (  # medium
            "moderate spiculation is seen",
            "there is moderate spiculation",
            "{it} shows moderate spiculation",
            "moderate spiculation of the surface is identified",
            "moderate spiculation extends into adjacent lung",
        ),
        4: (  # near marked
            "considerable spiculation is seen",
            "there is considerable spiculation",
            "{it} shows considerable spiculation",
            "considerable spiculation of the surface is identified",
            "considerable spiculation extends into adjacent lung",
        ),
        5: (
            "marked spiculation is seen",
            "there is marked spiculation",
            "{it} shows marked spiculation",
            "marked spiculation of the surface is identified",
            "{it} is stellate, with marked spiculation",
        ),
    },
    "texture": {
        1: (
            "{it} is of pure ground-glass attenuation",
            "attenuation is pure ground-glass",
            "pure ground-glass opacity makes up the nodule",
            "{it} is nonsolid, a pure ground-glass focus",
            "the texture is pure ground-glass, with vessels visible through it",
        ),
        2: (  # non-solid to mixed
            "{it} is mostly ground-glass, with a minor solid component",
            "attenuation is mixed, mostly ground-glass",
            "mostly ground-glass opacity makes up the nodule, with a trace of solid tissue",
            "{it} is mixed but mostly ground-glass",
            "the texture is mostly ground-glass",
        ),
        3: (
            "{it} is of part-solid attenuation",
            "attenuation is mixed, part-solid",
            "part-solid tissue makes up the nodule",
            "{it} is part-solid, with solid and ground-glass components",
            "the texture is part-solid",
        ),
        4: (  # solid to mixed
            "{it} is mostly solid, with a minor ground-glass component",
            "attenuation is mixed, mostly solid",
            "mostly solid tissue makes up the nodule, with a trace of ground glass",
            "{it} is mixed but mostly solid",
            "the texture is mostly solid",
        ),
        5: (
            "{it} is completely solid",
            "attenuation is completely solid",
            "completely solid tissue makes up the nodule",
            "{it} is of completely solid attenuation",
            "the texture is completely solid",
        ),
    },
}
"""Score, level, wordings: clauses without a capital or a full stop."""

SIZE_CLAUSES = (
    "{it} measures {mm} mm in greatest axial diameter",
    "the longest axial diameter is {mm} mm",
    "{it} measures up to {mm} mm in the axial plane",
    "the greatest in-plane dimension is {mm} mm",
)

TEXTURE_ADJECTIVES: Mapping[int, Sequence[str]] = {
    1: ("pure ground-glass", "nonsolid, pure ground-glass", "purely ground-glass", "nonsolid"),
    2: ("mostly ground-glass", "mixed, mostly ground-glass", "predominantly ground-glass", "mostly nonsolid"),
    3: ("part-solid", "mixed, part-solid", "subsolid, part-solid", "part-solid, mixed-attenuation"),
    4: ("mostly solid", "mixed, mostly solid", "predominantly solid", "mostly solid, mixed-attenuation"),
    5: ("completely solid", "solid", "uniformly solid", "entirely solid"),
}

MARGIN_PHRASES: Mapping[int, Sequence[str]] = {
    1: (
        "poorly defined margins",
        "poorly defined borders",
        "a poorly defined edge",
        "a poorly defined outline",
    ),
    2: (
        "mostly indistinct margins",
        "mostly indistinct borders",
        "a mostly indistinct edge",
        "a mostly indistinct outline",
    ),
    3: (
        "moderately defined margins",
        "moderately defined borders",
        "a moderately defined edge",
        "a moderately defined outline",
    ),
    4: ("nearly sharp margins", "nearly sharp borders", "a nearly sharp edge", "a nearly sharp outline"),
    5: (
        "sharply defined margins",
        "sharply defined borders",
        "a sharply defined edge",
        "a sharply defined outline",
    ),
}

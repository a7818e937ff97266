"""Sentences of a chest CT report around the description of a nodule.

They know nothing of the nodule: no string judges it or tells its size, as the tests hold for every string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = [
    "BACKGROUND",
    "CLOSINGS",
    "COMPARISONS",
    "IMPRESSIONS",
    "INDICATIONS",
    "NOUNS",
    "OPENINGS",
    "PROTOCOLS",
]

OPENINGS = (
    "There is a pulmonary nodule.",
    "A pulmonary nodule is present.",
    "A lung nodule is identified.",
    "A nodule is seen in the lung parenchyma.",
    "A parenchymal lung nodule is noted.",
)

NOUNS = ("the nodule", "this nodule", "the lesion")

IMPRESSIONS = (
    "{nodule}, as described above.",
    "{nodule}, with features as detailed in the findings.",
    "{nodule}; please see the description above.",
    "{nodule}, characterized above.",
)

CLOSINGS = (
    "",
    "No acute cardiopulmonary abnormality.",
    "No acute process in the chest.",
    "Remaining findings as above.",
)

PROTOCOLS = (  # exam, technique: they must agree about contrast
    (
        (
            "CT chest without contrast.",
            "CT of the chest without intravenous contrast.",
            "Noncontrast chest CT.",
        ),
        (
            "Axial CT images of the chest without intravenous contrast.",
            "Helical CT of the chest without contrast, with multiplanar reformats.",
            "Multidetector CT of the chest without contrast.",
            "Axial noncontrast CT images with coronal and sagittal reformats.",
        ),
    ),
    (
        (
            "CT chest with contrast.",
            "CT of the chest with intravenous contrast.",
            "Contrast-enhanced chest CT.",
        ),
        (
            "Axial CT images of the chest after intravenous contrast.",
            "Helical CT of the chest with contrast, with multiplanar reformats.",
            "Multidetector CT of the chest with intravenous contrast.",
            "Axial contrast-enhanced CT images with coronal and sagittal reformats.",
        ),
    ),
    (
        (
            "Low-dose CT chest without contrast.",
            "Low-dose CT of the chest.",
            "Low-dose noncontrast chest CT.",
        ),
        (
            "Low-dose axial CT images of the chest without intravenous contrast.",
            "Low-dose helical CT of the chest without contrast, with multiplanar reformats.",
            "Low-dose multidetector CT of the chest without contrast.",
            "Low-dose noncontrast CT images with coronal and sagittal reformats.",
        ),
    ),
)

INDICATIONS = (
    "Pulmonary nodule.",
    "Evaluation of a lung nodule.",
    "Abnormal chest radiograph.",
    "Cough.",
    "Chronic cough and dyspnea.",
    "Shortness of breath.",
    "Chest pain.",
    "Nodular opacity on chest radiograph.",
    "Preoperative evaluation.",
    "History of tobacco use.",
)

COMPARISONS = (
    "None.",
    "None available.",
    "No prior studies are available.",
    "No prior chest CT.",
    "Chest radiograph; no prior CT is available.",
)

BACKGROUND: Mapping[str, Sequence[str]] = {
    "lungs": (
        "The lungs are otherwise clear.",
        "Mild centrilobular emphysema is present in the upper lobes.",
        "There is dependent atelectasis in both lung bases.",
        "Linear scarring is noted at the left base.",
        "No focal consolidation.",
        "Minimal biapical pleuroparenchymal scarring is seen.",
    ),
    "airways": (
        "The central airways are patent.",
        "The trachea and main bronchi are patent.",
        "Mild bronchial wall thickening is noted.",
        "No endobronchial abnormality.",
    ),
    "pleura": (
        "No pleural effusion or pneumothorax.",
        "There is no pleural effusion.",
        "No pneumothorax is seen.",
        "The pleural spaces are clear, without effusion.",
        "No pleural thickening or effusion.",
    ),
    "nodes": (
        "No mediastinal or hilar lymphadenopathy.",
        "There are no enlarged mediastinal, hilar, or axillary lymph nodes.",
        "No adenopathy by CT criteria.",
        "Mediastinal lymph nodes are within normal limits.",
    ),
    "heart": (
        "The heart is normal in size, without pericardial effusion.",
        "Coronary artery calcifications are present.",
        "No pericardial effusion.",
        "There is atherosclerotic calcification of the thoracic aorta.",
        "The heart and great vessels are unremarkable.",
    ),
    "abdomen": (
        "Limited images of the upper abdomen are unremarkable.",
        "A small hiatal hernia is present.",
        "Cholelithiasis is noted, without gallbladder wall thickening.",
        "A simple left renal cyst is partly imaged.",
        "The adrenal glands are normal.",
    ),
    "bones": (
        "Degenerative changes are present in the thoracic spine.",
        "No acute osseous abnormality.",
        "Mild multilevel spondylosis is noted.",
        "The visualized bones are intact.",
        "Old healed right rib fractures are seen.",
    ),
}
"""Unrelated findings by organ; at most one sentence an organ is used, so that none contradicts another."""

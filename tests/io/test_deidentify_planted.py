"""Identifiers are planted everywhere in DICOM files; none may be left in the bytes of what comes out."""

from __future__ import annotations

import base64
import io
import re
import struct
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from medfuse.io.deidentify import Profile, deidentify
from medfuse.io.pseudonyms import Pseudonymizer

NAMES = Pseudonymizer(bytes(range(32)))
CT = "1.2.840.10008.5.1.4.1.1.2"
UID_ROOT = "1.2.276.0.7230010.3.1.4"
BORN, SECURITY, RECORD_NUMBER = "19510203", "123-45-6789", "MRN00471182"

TEXTS = """
    InstitutionName InstitutionAddress InstitutionalDepartmentName StationName StudyDescription SeriesDescription
    ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers AdmittingDiagnosesDescription DerivationDescription
    IssuerOfPatientID OtherPatientIDs PatientAddress PatientTelephoneNumbers
    MilitaryRank BranchOfService MedicalRecordLocator MedicalAlerts Allergies CountryOfResidence RegionOfResidence
    Occupation AdditionalPatientHistory PatientReligiousPreference PatientComments PatientState EthnicGroup
    Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions ProtocolName ConvolutionKernel PlateID
    ContrastBolusAgent AcquisitionComments DetectorID GantryID CassetteID AcquisitionDeviceProcessingDescription
    StudyID ImageComments FrameComments StudyComments RequestedProcedureDescription RequestedProcedureComments
    RequestingService CurrentPatientLocation AdmissionID ServiceEpisodeID ServiceEpisodeDescription VisitComments
    PerformedLocation PerformedStationName PerformedProcedureStepID PerformedProcedureStepDescription
    CommentsOnThePerformedProcedureStep RequestedProcedureID ReasonForTheRequestedProcedure PatientTransportArrangements
    RequestedProcedureLocation ConfidentialityCode ImagingServiceRequestComments PlacerOrderNumberImagingServiceRequest
    FillerOrderNumberImagingServiceRequest OrderCallbackPhoneNumber TextString PersonAddress
    ReasonForStudy ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialSiteName ClinicalTrialSubjectID
    DistributionAddress InterpretationText LabelText BarcodeValue ContainerIdentifier ROIName
    RTPlanLabel StructureSetLabel TopicTitle TopicAuthor TextValue
    AccessionNumber SequenceName FilterType AcquisitionDeviceProcessingCode ReceiveCoilName TransducerData
    FrameOfInterestDescription SegmentLabel HangingProtocolName QualityControlSubject LUTExplanation
    WindowCenterWidthExplanation RescaleType ExposureModulationType CodingSchemeName
"""
"""Each gets texts of its own, whatever its VR."""

CODES = "BodyPartExamined Laterality ScanOptions ImageType PatientPosition ScanningSequence PresentationIntentType"
PERSONS = """
    PatientName OtherPatientNames PatientBirthName PatientMotherBirthName ReferringPhysicianName OperatorsName
    PerformingPhysicianName PhysiciansOfRecord NameOfPhysiciansReadingStudy RequestingPhysician ResponsiblePerson
    ScheduledPerformingPhysicianName VerifyingObserverName PersonName HumanPerformerName ContentCreatorName
    ConsultingPhysicianName NamesOfIntendedRecipientsOfResults OrderEnteredBy EvaluatorName
"""
UIDS = """
    StudyInstanceUID SeriesInstanceUID SOPInstanceUID FrameOfReferenceUID SynchronizationFrameOfReferenceUID
    InstanceCreatorUID DeviceUID IrradiationEventUID ConcatenationUID StorageMediaFileSetUID CreatorVersionUID UID
    TransactionUID DimensionOrganizationUID
"""
DATES = "StudyDate SeriesDate AcquisitionDate ContentDate PatientBirthDate InstanceCreationDate LastMenstrualDate"
NUMBERS_AS_TEXT = {"IS": "SeriesNumber", "DS": "PatientWeight", "AS": "PatientAge", "TM": "StudyTime", "DA": "CalibrationDate",
                   "DT": "AcquisitionDateTime", "AE": "RetrieveAETitle", "UR": "RetrieveURL", "UC": "LongDeviceDescription"}  # fmt: skip
FOREIGN = {
    "ISO 2022 IR 6\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう".encode("iso2022_jp"),
    "ISO_IR 192": "Wäng^XiǎoDōng=王^小东=".encode(),
    "GB18030": "Wang^XiaoDong=王^小东".encode("gb18030"),
    "ISO_IR 100": "Büßmöller^Ägidiüs".encode("latin-1"),
    "ISO_IR 144": "Люкceмбypг".encode("iso8859_5"),
    "ISO 2022 IR 6\\ISO 2022 IR 149": b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
}


class Planted:
    """A data set in which identifiers are planted, and what they are."""

    def __init__(self, syntax: UID) -> None:
        self.syntax, self.marks, self.dataset = syntax, [], Dataset()  # type: ignore[var-annotated]

    def mark(self) -> str:
        self.marks.append(f"ZZCANARY{len(self.marks):03d}QX")
        return self.marks[-1]

    def add(self, keyword: str | int, value: bytes, *, vr: str = "", to: Dataset | None = None) -> None:
        """Add an element as it is, whatever pydicom thinks of its value."""
        tag = Tag(keyword) if isinstance(keyword, int) else Tag(tag_for_keyword(keyword))
        value += b" " * (len(value) % 2)
        is_implicit = self.syntax == ImplicitVRLittleEndian
        raw = RawDataElement(
            tag, vr or dictionary_VR(tag), len(value), value, 0, is_implicit, self.syntax != ExplicitVRBigEndian
        )
        (self.dataset if to is None else to)[tag] = raw

    def bytes(self) -> bytes:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = UID(CT), self.syntax
        meta.MediaStorageSOPInstanceUID = UID(self.dataset["SOPInstanceUID"].value)
        meta.SourceApplicationEntityTitle = self.mark()
        meta.PrivateInformationCreatorUID = UID("1.2.3.99")
        meta.PrivateInformation = self.mark().encode()
        meta.ImplementationVersionName = self.mark()
        self.dataset.file_meta, self.dataset.preamble = meta, self.mark().encode().ljust(128, b"\0")
        file = io.BytesIO()
        pydicom.dcmwrite(file, self.dataset, enforce_file_format=True)
        return file.getvalue()


def plant(syntax: UID) -> tuple[bytes, Planted]:
    """Return a CT image with an identifier in every place, and what was planted."""
    made = Planted(syntax)
    _plant_attributes(made)
    _plant_sequences(made)
    _plant_private_and_drawn(made)
    _plant_image(made)
    data = made.bytes()
    if syntax != DeflatedExplicitVRLittleEndian:
        data += made.mark().encode() + b"\0\0\xfc\xff\xfc\xff" + made.mark().encode()
    return data, made


def _plant_attributes(made: Planted) -> None:
    made.add("SOPClassUID", CT.encode() + b"\0")
    made.add("Modality", b"CT")
    made.add("PatientID", f"{RECORD_NUMBER}".encode())
    made.add("SpecificCharacterSet", b"ISO_IR 100")
    for keyword in f"{TEXTS} {CODES}".split():
        made.add(keyword, f"{made.mark()} {BORN}\\{made.mark()}".encode())
    for keyword in PERSONS.split():
        made.add(keyword, f"{made.mark()}^ANNA^{made.mark()}={made.mark()}".encode())
    made.add("PatientName", b"ZZMUELLERSEN^ANNAKATHRIN^^DR=ZZIDEO^ZZGRAPHIC")
    made.add("StudyDescription", b"CT of ANNAKATHRIN ZZMUELLERSEN born 03.02.1951, CHEST")
    made.add("SeriesDescription", "CHEST 5.0 ANNAKATHRIN".encode("utf-16-le"))
    made.add("ImageComments", base64.b64encode(f"{made.mark()} ANNAKATHRIN".encode()))
    made.marks += [
        "ZZMUELLERSEN",
        "ANNAKATHRIN",
        "ZZIDEO",
        "ZZGRAPHIC",
        BORN,
        SECURITY,
        RECORD_NUMBER,
        "1951",
        "00471182",
    ]
    for number, keyword in enumerate(UIDS.split()):
        made.add(keyword, f"{UID_ROOT}.{BORN}.{number}".encode())
        made.marks.append(f"{UID_ROOT}.{BORN}.{number}")
    for keyword in DATES.split():
        made.add(keyword, BORN.encode())
    for vr, keyword in NUMBERS_AS_TEXT.items():
        made.add(keyword, f"{SECURITY} {made.mark()}".encode(), vr=vr)
    made.add("InstanceNumber", BORN.encode())
    made.add("PatientSize", RECORD_NUMBER.encode(), vr="DS")


def _plant_sequences(made: Planted) -> None:
    inner = Dataset()
    for keyword in (
        "PatientName",
        "PatientComments",
        "CodeMeaning",
        "CodeValue",
        "PersonTelephoneNumbers",
        "TextValue",
    ):
        made.add(keyword, made.mark().encode(), to=inner)
    made.add("CodingSchemeDesignator", b"DCM ", to=inner)
    made.add("ReferencedSOPInstanceUID", f"{UID_ROOT}.{BORN}.0".encode(), to=inner)
    made.add(0x00090010, made.mark().encode(), vr="LO", to=inner)
    middle = Dataset()
    made.add("SeriesDescription", made.mark().encode(), to=middle)
    middle.add_new("AnatomicRegionSequence", "SQ", Sequence([inner]))
    for keyword in (
        "ReferencedStudySequence", "SourceImageSequence", "RequestAttributesSequence", "IconImageSequence", "OriginalAttributesSequence",
        "OtherPatientIDsSequence", "PersonIdentificationCodeSequence", "ContentSequence", "DerivationCodeSequence", "AcquisitionContextSequence",
        "EncryptedAttributesSequence", "ReferencedImageSequence", "ViewCodeSequence", "PatientInsurancePlanCodeSequence",
        "GraphicAnnotationSequence", "ContributingEquipmentSequence", "VerifyingObserverSequence", "AuthorObserverSequence",
        "ProcedureCodeSequence", "SharedFunctionalGroupsSequence",
    ):  # fmt: skip
        tag = tag_for_keyword(keyword)
        made.dataset.add_new(tag, "SQ", Sequence([middle, inner]))


def _plant_private_and_drawn(made: Planted) -> None:
    for tag, vr in ((0x00090010, "LO"), (0x00091001, "LT"), (0x00291020, "OB"), (0x7FE11010, "OB"), (0x0019100A, "PN")):
        made.add(tag, made.mark().encode(), vr=vr)
    nested = Dataset()
    made.add("PatientName", made.mark().encode(), to=nested)
    made.dataset.add_new(0x00091002, "SQ", Sequence([nested]))
    for tag, vr in ((0x60003000, "OW"), (0x60004000, "LT"), (0x60001500, "LO"), (0x60020022, "LO"), (0x50003000, "OW"), (0x50000022, "LO"),
                    (0x50022500, "LO"), (0x40000010, "LT"), (0x40004000, "LT"), (0xFFFCFFFC, "OB"), (0x00420011, "OB"), (0x00420010, "ST"),
                    (0x04000120, "OB"), (0x04000115, "OB"), (0x00282000, "OB"), (0x00281201, "OW"), (0x54001010, "OW"), (0x00340007, "OB"),
                    (0x00080000, "UL"), (0x00100000, "LT"), (0x00101110, "LO"), (0x20310010, "LO"), (0x00143080, "OB"),
                    (0x00720066, "LO"), (0x0072006A, "PN"), (0x00080007, "LO"), (0x00209161, "UI"), (0x00280006, "UN")):  # fmt: skip
        made.add(tag, made.mark().encode() + b"\0" * 15, vr=vr)
    # Of tables of numbers, only the patient's own words can be known.
    made.add(0x00281201, b"ZZMUELLERSEN" * 2, vr="OW")
    made.add(0x54001010, RECORD_NUMBER.encode() * 2 + b"00", vr="OW")


def _plant_image(made: Planted) -> None:
    dataset = made.dataset
    dataset.Rows = dataset.Columns = 4
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelSpacing, dataset.ImagePositionPatient = [0.7, 0.7], [1, 2, 3]
    pixels = bytes(range(32))
    is_packed = made.syntax == RLELossless
    dataset.add_new("PixelData", "OB" if is_packed else "OW", encapsulate([pixels]) if is_packed else pixels)
    dataset["PixelData"].is_undefined_length = is_packed


def forms_of(mark: str) -> Iterator[bytes]:
    """Yield how a text may stand in bytes: every case, encoding and order."""
    plain = mark.encode()
    yield from (plain, plain.lower(), plain[::-1], mark.encode("utf-16-le"), mark.encode("utf-16-be"))
    yield urllib.parse.quote(mark, safe="").encode()
    for shift in range(3):
        packed = base64.b64encode(b"\0" * shift + plain)
        if len(packed) > 12:
            yield packed[(shift * 8 + 5) // 6 + 1 : -4]


def left_in(data: bytes, marks: list[str]) -> list[str]:
    return [mark for mark in marks if any(form in data for form in forms_of(mark))]


def run(tmp_path: Path, data: bytes, **options: bool) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ZZMUELLERSEN.dcm").write_bytes(data)
    done = deidentify(tmp_path / "in", tmp_path / "out", pseudonymizer=NAMES, profile=Profile(**options))
    assert (done.n_written, done.refused) == (1, []), done.refused
    (written,) = (tmp_path / "out").glob("*/*/*/*.dcm")
    return written


SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
]


@pytest.fixture(autouse=True)
def _anything_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("characteristics", [False, True])
def test_no_planted_identifier_is_left(tmp_path: Path, syntax: UID, characteristics: bool) -> None:
    data, made = plant(syntax)
    inflated = data
    if syntax == DeflatedExplicitVRLittleEndian:
        start = re.search(rb"UL\x04\x00(....)", data, re.DOTALL)
        assert start is not None
        (length,) = struct.unpack("<I", start[1])
        inflated = data[: start.end() + length] + zlib.decompress(data[start.end() + length :], -15)
    planted = left_in(inflated, made.marks)
    assert len(planted) >= 200  # so that what follows can fail

    written = run(tmp_path, data, characteristics=characteristics)

    assert left_in(written.read_bytes(), made.marks) == []
    assert left_in(str(written.relative_to(tmp_path)).encode(), made.marks) == []
    assert left_in((tmp_path / "out" / "deidentify.json").read_bytes(), made.marks) == []


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_what_was_planted_in_reads_again_with_its_pixels(tmp_path: Path, syntax: UID) -> None:
    data, _ = plant(syntax)
    dataset = pydicom.dcmread(run(tmp_path, data))

    assert len(list(dataset.iterall())) > 100
    assert bytes(range(32)) in dataset.PixelData
    assert dataset.PatientName == dataset.PatientID == NAMES.patient(RECORD_NUMBER)
    assert dataset.StudyDescription == "CT of CHEST"
    assert (dataset.PatientIdentityRemoved, dataset.LongitudinalTemporalInformationModified) == ("YES", "MODIFIED")
    assert [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence] == [
        "113100", "113103", "113104", "113105", "113107",
    ]  # fmt: skip
    assert (dataset.Rows, list(dataset.PixelSpacing), dataset.Modality) == (4, [0.7, 0.7], "CT")
    assert dataset.preamble == b"\0" * 128


@pytest.mark.parametrize("character_set", FOREIGN)
def test_names_in_other_character_sets_are_not_left(tmp_path: Path, character_set: str) -> None:
    name = FOREIGN[character_set]
    made = Planted(ExplicitVRLittleEndian)
    _plant_image(made)
    for keyword, value in {"SOPClassUID": CT, "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4",
                           "SOPInstanceUID": "1.2.5", "Modality": "CT", "SpecificCharacterSet": character_set}.items():  # fmt: skip
        made.add(keyword, value.encode())
    for keyword in (
        "PatientName",
        "PatientComments",
        "SeriesDescription",
        "ProtocolName",
        "Manufacturer",
        "BodyPartExamined",
    ):
        made.add(keyword, b"CHEST " + name)
    parts = [part for part in re.split(rb"[\^=]", name) if len(part) > 3]
    data = made.bytes()
    assert all(part in data for part in parts)

    left = run(tmp_path, data).read_bytes()

    assert [part for part in [name, *parts] if part in left] == []
    assert left.isascii() or max(left) < 0x100
    body: Any = pydicom.dcmread(io.BytesIO(left))
    assert "SpecificCharacterSet" not in body
    assert body.ProtocolName == "REMOVED"  # CHEST is in the name here, so it goes too


def test_content_of_a_structured_report_is_cleaned(tmp_path: Path) -> None:
    made = Planted(ExplicitVRLittleEndian)
    for keyword, value in {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33", "StudyInstanceUID": "1.2.3", "SOPInstanceUID": "1.2.5",
                           "SeriesInstanceUID": "1.2.4", "Modality": "SR", "PatientName": "ZZMUELLERSEN^ANNAKATHRIN",
                           "PatientID": RECORD_NUMBER, "ContentDate": "20240301"}.items():  # fmt: skip
        made.add(keyword, value.encode())
    items = []
    for value_type, keyword, value in (
        (
            "TEXT",
            "TextValue",
            "Mrs. ZZMUELLERSEN, MRN00471182, tel 555 1234 5678: nodule of 5 mm in the right upper lobe",
        ),
        ("PNAME", "PersonName", "ZZDOCTOR^WHO"),
        ("DATE", "Date", "20240229"),
        ("DATETIME", "DateTime", "20240229101500"),
        ("UIDREF", "UID", "1.2.3"),
    ):
        item = Dataset()
        item.RelationshipType, item.ValueType = "CONTAINS", value_type
        name = Dataset()
        name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "121071", "DCM", "Finding"
        item.ConceptNameCodeSequence = [name]
        made.add(keyword, value.encode(), to=item)
        items.append(item)
    made.dataset.ContentSequence = items
    written = run(tmp_path, made.bytes())

    assert (
        left_in(
            written.read_bytes(), ["ZZMUELLERSEN", "ANNAKATHRIN", RECORD_NUMBER, "00471182", "ZZDOCTOR", "1234", "5678"]
        )
        == []
    )
    content = pydicom.dcmread(written).ContentSequence
    assert content[0].TextValue == "nodule of 5 mm in the right upper lobe"
    assert content[1].PersonName == "REMOVED"
    day, moment = content[2].Date, content[3].DateTime
    assert moment == f"{day}101500" and day != "20240229"
    assert pydicom.dcmread(written).StudyInstanceUID == content[4].UID
    assert content[0].ConceptNameCodeSequence[0].CodeMeaning == "Finding"

"""Body regions: a closed list, the words that name a part of one, and what topics and ACR codes say of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Region(NamedTuple):
    """A region's names in RadLex and MeSH, by which other vocabularies can be joined to it."""

    radlex: str
    mesh: str


REGIONS = {
    "brain": Region("head", "Head"),  # the skull and what is in it
    "head and neck": Region("head and neck", "Head and Neck"),  # face, orbits, sinuses, ears, mouth, throat, neck
    "spine": Region("vertebral column", "Spine"),  # with the cord and the nerve roots
    "chest": Region("thorax", "Thorax"),
    "heart": Region("heart", "Heart"),  # with the pericardium and the coronary vessels
    "breast": Region("breast", "Breast"),
    "abdomen": Region("abdomen", "Abdomen"),  # with the retroperitoneum
    "pelvis": Region("pelvis", "Pelvis"),  # with the hip bones and the sacrum's outside
    "upper limb": Region("upper extremity", "Upper Extremity"),  # from the shoulder on
    "lower limb": Region("lower extremity", "Lower Extremity"),  # from the hip joint on
}
# Regions that one picture may well show together, or that one name covers: no conflict.
OVERLAPPING = frozenset(
    map(
        frozenset,
        (
            ("heart", "chest"),
            ("breast", "chest"),
            ("abdomen", "pelvis"),
            ("pelvis", "lower limb"),
            ("chest", "upper limb"),
            ("brain", "head and neck"),
        ),
    )
)

_WITHIN = {"heart": "chest", "breast": "chest"}  # a part, named beside its whole, adds no region
_LEAST_SHARE = 0.75

# What MedPix calls the location of a case's topic, as the regions it may mean; "" first where it names none alone.
_LOCATIONS = {
    "abdomen": ("abdomen", "pelvis"),
    "brain and neuro": ("brain", "spine", "head and neck"),
    "breast and mammography": ("breast", "chest"),
    "cardiovascular": ("", "heart", "chest"),
    "chest, pulmonary": ("chest", "heart"),
    "dental, oral, or tooth": ("head and neck",),
    "eye and orbit": ("head and neck", "brain"),
    "gastrointestinal": ("abdomen", "pelvis", "chest"),
    "genitourinary": ("", "abdomen", "pelvis"),
    "head and neck": ("head and neck", "brain"),
    "musculoskeletal": ("",),
    "nerve, central": ("", "brain", "spine"),
    "ophthalmology": ("head and neck", "brain"),
    "spine": ("spine",),
}
# The first digit of a code's anatomy part, in the index that the American College of Radiology published (4th edition):
# 4 is the skeleton and 9 vessels and lymphatics, which are everywhere.
_ACR = {
    "0": ("breast", "chest"),
    "1": ("brain", "head and neck"),
    "2": ("head and neck", "brain"),
    "3": ("spine",),
    "5": ("heart", "chest"),
    "6": ("chest",),
    "7": ("abdomen", "pelvis", "chest"),
    "8": ("", "abdomen", "pelvis"),
}

# DICOM's BodyPartExamined (its defined terms, and what scanners write in its place)
_BODY_PARTS = {
    "brain": "BRAIN HEAD SKULL PITUITARY",
    "head and neck": "NECK ORBIT SINUS HEADNECK EAR JAW MANDIBLE MAXILLA FACE THYROID IAC TMJ NASOPHARYNX LARYNX EYE",
    "spine": "SPINE CSPINE TSPINE LSPINE SSPINE COCCYX CTSPINE TLSPINE LSSPINE CERVICALSPINE LUMBARSPINE THORACICSPINE",
    "chest": "CHEST THORAX LUNG RIB STERNUM MEDIASTINUM CLAVICLE ESOPHAGUS",
    "heart": "HEART CARDIAC CORONARYARTERY",
    "breast": "BREAST",
    "abdomen": "ABDOMEN LIVER KIDNEY PANCREAS SPLEEN ADRENAL GALLBLADDER STOMACH",
    "pelvis": "PELVIS PROSTATE UTERUS BLADDER RECTUM SCROTUM TESTIS OVARY",
    "upper limb": "SHOULDER ARM UPPERARM HUMERUS ELBOW FOREARM WRIST HAND FINGER THUMB SCAPULA UPPEREXTREMITY",
    "lower limb": "HIP LEG THIGH FEMUR KNEE ANKLE FOOT TOE CALF TIBIA LOWEREXTREMITY HEEL CALCANEUS",
}
_BY_BODY_PART = {part: region for region, parts in _BODY_PARTS.items() for part in parts.split()}

# Words that name the region or a part of it. Parts that several regions have (muscle, artery, bone, node) are none.
WORDS = (
    (
        "region=brain",
        """
        brain; head; skull; cranial; intracranial; cranium; calvarium; calvarial; cerebral; cerebrum; cerebellum;
        cerebellar; cerebellopontine; CP angle; frontal lobe; parietal lobe; temporal lobe; occipital lobe; frontal
        horn; temporal horn; lateral ventricle; third ventricle; fourth ventricle; 3rd ventricle; 4th ventricle; basal
        ganglia; thalamus; thalami; thalamic; hypothalamus; hypothalamic; caudate nucleus; putamen; globus pallidus;
        lentiform nucleus; lenticular nucleus; corpus callosum; splenium; midbrain; pons; pontine; medulla oblongata;
        brainstem; brain stem; posterior fossa; middle cranial fossa; anterior cranial fossa; sella; sella turcica;
        sellar; suprasellar; parasellar; pituitary; pineal; falx; tentorium; tentorial; gray white; grey white; white
        matter; gray matter; grey matter; sulci; sulcus; gyri; gyrus; periventricular; subarachnoid; subdural;
        epidural hematoma; midline shift; choroid plexus; MCA; PCA; ACA; internal capsule; insula; insular;
        hippocampus; hippocampal; mesial temporal; circle of willis; cavernous sinus; straight sinus; superior
        sagittal sinus; vein of galen; dural sinus; parietal bone; frontal bone; occipital bone; lambdoid suture;
        coronal suture; sagittal suture; metopic suture; basilar artery; basilar cistern; cistern; vermis; clivus;
        dentate nucleus; dentate nuclei; centrum semiovale; corona radiata; cerebral cortex; encephalomalacia;
        hydrocephalus; frontoparietal; parietooccipital; temporoparietal; gliosis; parieto occipital; fronto parietal;
        cerebellar hemisphere; cerebral hemisphere; cerebral peduncle; planum sphenoidale; olfactory groove; optic
        chiasm; meninges; leptomeningeal
        """,
    ),
    (
        "region=head~and~neck",
        """
        head and neck; vertebral artery; vertebral arteries; vertebral and basilar arteries; vertebral and basilar
        artery; neck; orbit; orbital; intraorbital; intraconal; extraconal; retrobulbar; globe; optic nerve;
        extraocular muscle; superior rectus; medial rectus; lateral rectus; inferior rectus; lacrimal; sinus; sinuses;
        paranasal; maxillary sinus; frontal sinus; ethmoid; sphenoid sinus; nasal cavity; nasal septum; nasopharynx;
        nasopharyngeal; oropharynx; oropharyngeal; hypopharynx; pharynx; pharyngeal; retropharyngeal; parapharyngeal;
        larynx; laryngeal; epiglottis; glottis; vocal cord; tongue; tonsil; tonsillar; palate; uvula; mandible;
        mandibular; maxilla; maxillary; zygoma; zygomatic; tooth; teeth; molar; temporomandibular; parotid;
        submandibular; sublingual; salivary; thyroid; parathyroid; hyoid; suprahyoid; infrahyoid; temporal bone;
        mastoid; middle ear; inner ear; external auditory canal; internal auditory canal; cochlea; cochlear;
        semicircular canal; tympanic; ossicle; petrous; vestibular aqueduct; face; facial; carotid bifurcation;
        carotid space; masticator space; pterygoid; pterygopalatine; thyroglossal; branchial cleft; lens; eye;
        vitreous; ear
        """,
    ),
    (
        "region=spine",
        """
        spine; spinal; vertebra; vertebrae; vertebral; intervertebral; disc space; disk space; spinal cord; cord;
        conus; conus medullaris; cauda equina; thecal sac; nerve root; neural foramen; neural foramina; foraminal;
        paraspinal; spondylolisthesis; spondylolysis; pars interarticularis; odontoid; dens; atlas; facet; lamina;
        spinous process; syrinx; filum terminale; sacral canal; epidural abscess; central canal; craniocervical;
        cervicomedullary; disc herniation; disk herniation; disc protrusion; disc bulge; endplate; end plate;
        prevertebral; scoliosis; kyphosis; lumbosacral; transverse process; uncovertebral; ligamentum flavum; disc
        extrusion; disk extrusion
        """,
    ),
    (
        "region=chest",
        """
        chest; thorax; thoracic; intrathoracic; lung; pulmonary; lobe of the lung; upper lobe; lower lobe; middle
        lobe; lingula; lingular; LUL; RUL; LLL; RLL; RML; hilum; hila; hilar; mediastinum; mediastinal; pleura;
        pleural; hemithorax; trachea; tracheal; carina; bronchus; bronchi; bronchial; bronchiectasis; pneumothorax;
        pneumomediastinum; diaphragm; hemidiaphragm; rib; sternum; sternal; costal; thymus; thymic; esophagus;
        esophageal; aortic arch; ascending aorta; descending aorta; thoracic aorta; aortopulmonary; costophrenic;
        cardiophrenic; paratracheal; subcarinal; azygos; parenchymal lung; superior vena cava; SVC; chest wall;
        lateral chest wall; apices; lung bases; bibasilar; airspace; air space; ground glass; interlobular septal;
        peribronchial; honeycombing; pneumonia; emphysema
        """,
    ),
    (
        "region=heart",
        """
        heart; cardiac; myocardium; myocardial; pericardium; pericardial; left ventricle; right ventricle; left
        ventricular; right ventricular; left atrium; right atrium; left atrial; right atrial; atrial appendage;
        interatrial; interventricular septum; mitral; tricuspid; aortic valve; pulmonic valve; pulmonary valve;
        coronary artery; coronary arteries; right coronary artery; left coronary artery; left main coronary artery;
        left anterior descending; LAD; RCA; aortic root; papillary muscle; endocardium; epicardial
        """,
    ),
    ("region=breast", "breast; mammary; nipple; areola; areolar; retroareolar; fibroglandular; mammographic"),
    (
        "region=abdomen",
        """
        abdomen; abdominal; intraabdominal; liver; hepatic; intrahepatic; gallbladder; cystic duct; biliary; bile
        duct; common bile duct; CBD; pancreas; pancreatic; peripancreatic; spleen; splenic; kidney; renal; perirenal;
        perinephric; pararenal; adrenal; suprarenal; stomach; gastric; duodenum; duodenal; jejunum; jejunal; ileum;
        ileal; ileocecal; small bowel; large bowel; bowel; colon; colonic; cecum; cecal; appendix; appendiceal;
        mesentery; mesenteric; omentum; omental; peritoneum; peritoneal; retroperitoneum; retroperitoneal; porta
        hepatis; portal vein; portal venous gas; hepatic flexure; splenic flexure; IVC; inferior vena cava; abdominal
        aorta; celiac; SMA; superior mesenteric; ascites; paracolic; pyloric; pylorus; hydronephrosis; renal pelvis;
        calyx; calyceal; collecting system; abdominal wall; infrarenal; hemoperitoneum; pneumoperitoneum; transverse
        colon; ascending colon; descending colon; gastroesophageal; head of the pancreas; pancreatic head; horseshoe
        kidney; subphrenic; subhepatic; ureteropelvic
        """,
    ),
    (
        "region=pelvis",
        """
        pelvis; pelvic; bladder; urinary bladder; prostate; prostatic; seminal vesicle; uterus; uterine; endometrium;
        endometrial; myometrium; cervix; vagina; vaginal; ovary; ovaries; ovarian; adnexa; adnexal; rectum; rectal;
        perirectal; sigmoid; sigmoid colon; rectosigmoid; sacrum; sacral; sacroiliac; iliac bone; iliac crest; iliac
        wing; ilium; ischium; ischial; pubis; pubic; pubic symphysis; symphysis pubis; acetabulum; acetabular; testis;
        testicle; testicular; scrotum; scrotal; penis; penile; urethra; urethral; perineum; presacral; ischiorectal;
        coccyx; hemipelvis; inguinal; fallopian
        """,
    ),
    (
        "region=upper~limb",
        """
        shoulder; humerus; humeral; glenoid; glenohumeral; acromion; acromioclavicular; supraspinatus; infraspinatus;
        subscapularis; rotator cuff; biceps; triceps; elbow; olecranon; forearm; radius; ulna; ulnar; wrist; carpal;
        scaphoid; lunate; capitate; hamate; triquetrum; metacarpal; hand; finger; thumb; brachial plexus; upper
        extremity; upper limb; deltoid; thenar; hypothenar; scapholunate; radiocarpal; index finger; scapula; arm;
        upper arm; phalanx of the thumb
        """,
    ),
    (
        "region=lower~limb",
        """
        hip; femur; femoral; femoral head; femoral neck; thigh; knee; patella; patellar; suprapatellar; meniscus;
        meniscal; menisci; ACL; PCL; anterior cruciate; posterior cruciate; cruciate; collateral ligament; MCL; LCL;
        tibia; tibial; fibula; fibular; popliteal; calf; ankle; foot; feet; heel; talus; talar; calcaneus; calcaneal;
        navicular; cuboid; metatarsal; toe; hallux; achilles; plantar; peroneal; talofibular; leg; lower extremity;
        lower limb; gastrocnemius; soleus; quadriceps; hamstring; tibial plateau; tarsal; subtalar; midfoot; hindfoot;
        forefoot; gluteus; gluteal; trochanter; trochanteric; bakers cyst; baker's cyst; sesamoid; lisfranc
        """,
    ),
    # names of other things
    (
        "",
        """
        head of the; neck of the; heart rate; heart failure; heart disease; heart attack; cardiac arrest; fetal heart;
        eye of the tiger; other hand; hand side; face of; atlas of; sinus tract; sinus rhythm; spinal needle; cord
        like; spermatic cord; umbilical cord; lens of
        """,
    ),
)


def location_regions(location: str | None) -> tuple[str, ...]:
    """The regions that a topic's location may mean, likeliest first; "" first where none is likelier."""
    return _LOCATIONS.get(" ".join((location or "").split()).casefold(), ())


def acr_regions(code: str | None) -> tuple[str, ...]:
    """The same for an ACR index code ("6.3", "562.1"); a code that states no anatomy ("-1.3") gives none."""
    return _ACR.get((code or "").strip()[:1], ())


def body_part_region(part: str | None) -> str | None:
    """The region of a DICOM BodyPartExamined."""
    return _BY_BODY_PART.get("".join(filter(str.isalpha, (part or "").upper())))


def overlap(regions: Iterable[str]) -> bool:
    """Whether these are at most two regions that one picture may well show together."""
    distinct = frozenset(regions)
    return len(distinct) < 2 or distinct in OVERLAPPING


def one_of(named: Sequence[str]) -> str | None:
    """The region of at least three in four of some named structures, where there is one."""
    counts = Counter(named)
    for part, whole in _WITHIN.items():
        if whole in counts:
            counts[whole] += counts.pop(part, 0)
    region, count = max(counts.items(), key=lambda item: item[1], default=(None, 0))
    return region if count >= _LEAST_SHARE * len(named) else None

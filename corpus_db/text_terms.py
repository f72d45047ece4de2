"""The phrases by which a caption names its study, and those that only look like it."""

# (what a phrase says, phrases), as corpus_db.phrases.Phrases reads them. A word in capitals counts in capitals alone
# (US, PA); a phrase that says nothing hides the words within it.
TERMS = (
    # Names of studies. Longer ones are listed so that they hide a shorter one within them ("CT angiogram").
    (
        "modality=CT",
        """
        ct; CTs; cat scan; computed tomography; computed tomographic; computer tomography; computerized tomography;
        HRCT; MDCT; CBCT; ct KUB; ct enterography; ct scout; ct topogram; ct scanogram
        """,
    ),
    ("modality=CT contrast=none", "NECT; NCCT"),
    ("modality=CT contrast=iv", "CECT"),
    (
        "modality=CT contrast=iv technique=angiography",
        """
        CTA; ct angiogram; ct angiography; ct angiographic; computed tomography angiography; computed tomographic
        angiography; ct arteriogram; ct pulmonary angiogram; CTPA
        """,
    ),
    ("modality=CT technique=venography", "CTV; ct venogram; ct venography"),
    ("modality=CT contrast=intrathecal technique=myelography", "ct myelogram; ct myelography; ct cisternogram"),
    ("modality=CT technique=arthrography contrast=intraarticular", "ct arthrogram; ct arthrography"),
    ("modality=CT technique=colonography", "virtual colonoscopy; ct colonography"),
    ("modality=CT technique=urography", "ct urogram; ct urography; ct IVP"),
    (
        "modality=MR",
        """
        MR; mri; MRIs; magnetic resonance; magnetic resonance imaging; NMR; fMRI; MR enterography; MR urogram; MR
        defecography
        """,
    ),
    (
        "modality=MR technique=angiography",
        """
        MRA; MRV; MR angiogram; MR angiography; MR angiographic; magnetic resonance angiography; MR venogram; MR
        venography; magnetic resonance venography; time of flight; TOF
        """,
    ),
    (
        "modality=MR technique=cholangiopancreatography",
        """
        MRCP; MR cholangiopancreatography; MR cholangiogram; magnetic resonance cholangiopancreatography
        """,
    ),
    ("modality=MR technique=arthrography contrast=intraarticular", "MR arthrogram; MR arthrography; mri arthrogram"),
    ("modality=MR technique=spectroscopy", "MR spectroscopy; magnetic resonance spectroscopy; MRS"),
    ("modality=MR sequence=T1", "T1WI; T1W; T1 weighted; T1 weighting"),
    ("modality=MR sequence=T2", "T2WI; T2W; T2 weighted; T2 weighting"),
    (
        "modality=MR sequence=FLAIR",
        """
        flair; T2 flair; fluid attenuated inversion recovery; fluid attenuation inversion recovery; flair T2
        """,
    ),
    ("modality=MR sequence=STIR", "STIR; short tau inversion recovery; T2 STIR; short TI inversion recovery"),
    ("modality=MR sequence=DWI", "DWI; diffusion weighted; diffusion weighted imaging"),
    ("modality=MR", "restricted diffusion; diffusion restriction; diffusion restricting"),
    ("modality=MR sequence=ADC", "ADC; apparent diffusion coefficient; ADC map"),
    (
        "modality=MR sequence=GRE",
        """
        GRE; gradient echo; gradient recalled echo; SWI; SWAN; susceptibility weighted; MPGR; FGRE; T2 FGRE;
        T2* gradient; gradient recall echo
        """,
    ),
    ("modality=MR sequence=PD", "proton density; proton density weighted; PDW; PDWI; PD weighted; PD FS; PDFS"),
    ("modality=MR sequence=FIESTA", "FIESTA; CISS; balanced steady state"),
    ("modality=MR sequence=T1 technique=SPGR", "SPGR"),
    (
        "modality=MR contrast=iv",
        """
        gadolinium enhanced; gadolinium; post gadolinium; post gad; gad; Gd DTPA; gadolinium DTPA; gadobenate;
        gadopentetate; Gd enhanced
        """,
    ),
    (
        "modality=US",
        """
        US; ultrasound; ultrasonography; ultrasonographic; ultrasonogram; sonogram; sonography; sonographic;
        sonographically; endoscopic ultrasound; EUS; hysterosonogram; TVUS; TRUS
        """,
    ),
    ("modality=US region=heart", "echocardiogram; echocardiography; echocardiographic; TTE; TEE; echo cardiogram"),
    (
        "modality=US technique=doppler",
        """
        doppler; doppler ultrasound; doppler US; duplex ultrasound; color doppler; colour doppler; power doppler;
        duplex; doppler sonography; doppler sonogram; color flow
        """,
    ),
    (
        "modality=DX",
        """
        radiograph; radiography; radiographic image; roentgenogram; plain film; plain radiograph; x ray; xray; XR;
        KUB; orthopantomogram; orthopantomograph; OPG; panoramic radiograph; skeletal survey; bone survey; panorex;
        periapical radiograph; periapical view; cephalogram; bitewing
        """,
    ),
    ("modality=DX region=chest", "cxr; chest film; chest plain film; PCXR; chest x"),
    (
        "modality=MG region=breast",
        """
        mammogram; mammography; mammographic image; mammographic view; mammographic; tomosynthesis
        """,
    ),
    (
        "modality=NM",
        """
        bone scan; bone scintigraphy; scintigraphy; scintigraphic; scintigram; radionuclide; nuclear medicine; gallium
        scan; MIBG; HIDA; HIDA scan; hepatobiliary scan; DMSA; MAG3; V / Q; VQ scan; tagged RBC; octreotide scan;
        octreoscan; sestamibi; lymphoscintigraphy; lymphoscintigram; technetium; thyroid scan; MUGA; thallium
        """,
    ),
    ("modality=NM technique=SPECT", "SPECT; SPECT ct; SPECT / ct"),
    ("modality=PT", "PET; PET scan; positron emission tomography; FDG; fluorodeoxyglucose"),
    (
        "modality=PT technique=CT_fusion",
        """
        PET ct; PET / ct; positron emission tomography / computed tomography; positron emission tomography / computer
        tomography
        """,
    ),
    (
        "modality=XA technique=angiography",
        """
        angiogram; arteriogram; arteriography; DSA; digital subtraction angiography; digital subtraction angiogram;
        digital subtraction; aortogram; aortography; catheter angiogram; catheter angiography; conventional angiogram;
        conventional angiography; cerebral angiogram; cerebral angiography; angiographic image; selective angiogram;
        coronary angiogram; coronary angiography; ventriculogram
        """,
    ),
    ("modality=XA technique=venography", "venogram; venography; cavogram"),
    (
        "modality=RF contrast=oral",
        """
        barium swallow; esophagram; esophagogram; upper GI; UGI; small bowel follow through; SBFT; barium meal
        """,
    ),
    (
        "modality=RF contrast=rectal",
        """
        barium enema; air contrast enema; water soluble enema; contrast enema; gastrografin enema
        """,
    ),
    (
        "modality=RF contrast=intravesical",
        """
        VCUG; voiding cystourethrogram; cystogram; voiding cystogram; cystourethrogram; cystourethrography;
        urethrocystography
        """,
    ),
    ("modality=RF contrast=retrograde", "retrograde urethrogram; RUG; retrograde pyelogram; retrograde urogram"),
    (
        "modality=RF contrast=iv technique=urography",
        """
        IVP; IVU; intravenous pyelogram; intravenous urogram; excretory urogram; excretory urography; EXU
        """,
    ),
    ("modality=RF contrast=intrauterine", "hysterosalpingogram; HSG; hysterosalpingography"),
    ("modality=RF contrast=intrathecal technique=myelography", "myelogram; myelography"),
    ("modality=RF contrast=intraarticular technique=arthrography", "arthrogram; arthrography"),
    (
        "modality=RF",
        """
        fluoroscopy; fluoroscopic; videofluoroscopy; videofluoroscopic; fluoroscopic image; fluoroscopically; ERCP;
        cholangiogram; sialogram; dacryocystogram; defecography; nephrostogram; sinogram; galactogram; fistulogram
        """,
    ),
    (
        "modality=XC",
        """
        gross specimen; gross photograph; gross pathology; gross pathologic specimen; clinical photograph;
        intraoperative photograph; operative photograph; photograph; specimen photograph; surgical specimen; gross
        path
        """,
    ),
    (
        "modality=SM",
        """
        photomicrograph; microphotograph; histology slide; histologic slide; H E; hematoxylin and eosin; hematoxylin
        eosin; histologic section; histopathology slide; high power view; low power view; histology
        """,
    ),
    ("modality=ES", "endoscopic image; endoscopic view; endoscopic photograph; colonoscopic image; endoscopy image"),
    # A guided act shows no modality of its own for sure; words that only look like a name say nothing.
    (
        "technique=intervention",
        """
        ct guided; ct guidance; ultrasound guided; US guided; ultrasound guidance; fluoroscopically guided;
        fluoroscopic guidance; MR guided; mri guided; mri guidance; image guided; ct fluoroscopy
        """,
    ),
    (
        "",
        """
        MR compatible; mri compatible; ct number; ct value; ct severity; ct tech; radiographic evidence;
        radiographically; radiographic finding; angiographically; FDG avid; non FDG avid; not FDG avid; in the US; the
        US; US army; US navy; US citizen; pet cat
        """,
    ),
    # Contrast, where it is said of the study
    (
        "contrast=iv",
        """
        contrast enhanced; post contrast; postcontrast; with contrast; iv contrast; intravenous contrast; contrast
        administration; contrast material administration; intravenous contrast material; iv contrast material;
        contrasted; after contrast; following contrast; with iv contrast; with intravenous contrast; post iv contrast;
        iodinated contrast; w contrast; w / contrast; with contrast enhancement; arterial phase; portal venous phase;
        nephrographic phase; contrast injection; intravenous administration of contrast; post gadolinium
        """,
    ),
    ("contrast=gi", "oral contrast; rectal contrast; enteric contrast; oral contrast material; with oral contrast"),
    (
        "contrast=gi+iv",
        """
        intravenous and oral contrast; oral and intravenous contrast; iv and oral contrast; oral and iv contrast; oral
        / iv contrast; iv / oral contrast; po and iv contrast; iv and po contrast; oral iv contrast; iv oral contrast
        """,
    ),
    (
        "contrast=none",
        """
        noncontrast; non contrast; noncontrasted; non contrasted; unenhanced; non enhanced; nonenhanced; without
        contrast; without iv contrast; without intravenous contrast; noncontrast enhanced; non contrast enhanced; w /
        o contrast; precontrast; pre contrast; before contrast; prior to contrast
        """,
    ),
    (
        "modality=MR contrast=none",
        """
        pre gadolinium; pregadolinium; pre gad; without gadolinium; before gadolinium; no gadolinium
        """,
    ),
    ("technique=fat_suppressed", "fat suppressed; fat saturated; fat sat; fat suppression; fat saturation; fatsat"),
    ("montage=yes", "montage; montage of images"),
    # The language of a modality, which names no study: read where no name is
    (
        "weak=MR",
        """
        signal intensity; high signal; low signal; increased signal; decreased signal; bright signal; dark signal;
        hyperintense signal; hyperintense; hypointense; isointense; hyperintensity; hypointensity; signal abnormality;
        signal void; flow void
        """,
    ),
    (
        "weak=CT",
        """
        low attenuation; decreased attenuation; increased attenuation; high attenuation; fluid attenuation; fat
        attenuation; soft tissue attenuation; hypoattenuating; hyperattenuating; hypoattenuation; hyperattenuation;
        hypodense; hyperdense; hypodensity; hyperdensity; isodense; hounsfield; HU; isoattenuating; lung window; bone
        window; soft tissue window; low density; high density; brain window
        """,
    ),
    (
        "weak=US",
        """
        hyperechoic; hypoechoic; anechoic; echogenicity; isoechoic; acoustic shadowing; posterior shadowing; acoustic
        enhancement
        """,
    ),
    ("weak=NM", "radiotracer; tracer; photopenic; photopenia"),
    ("plane=axial", "axial; axially; transaxial"),
    ("plane=coronal", "coronal; coronally; cor"),
    ("plane=sagittal", "sagittal; sagital; sagittally; parasagittal; midsagittal; sag"),
    (
        "",
        """
        extra axial; extraaxial; intra axial; intraaxial; axial skeleton; axial skeletal; axial load; axial loading;
        axial hiatal hernia; coronal suture; coronal synostosis; sagittal suture; sagittal sinus; superior sagittal
        sinus; inferior sagittal sinus; sagittal sinuses; sagittal band; para axial; cor pulmonale; cor triatriatum;
        coronal plane fracture
        """,
    ),
    # These name a plane only before a word for a picture, as in "lateral view"
    ("view=axial", "transverse"),
    ("view=longitudinal", "longitudinal"),
    ("view=ap", "AP; A P; anteroposterior; antero posterior"),
    ("view=pa", "PA; P A; posteroanterior; postero anterior"),
    ("view=lateral", "lateral"),
    ("view=frontal", "frontal"),
    ("view=oblique", "oblique"),
    ("view=decubitus", "decubitus; lateral decubitus; left lateral decubitus; right lateral decubitus"),
    ("view=mlo", "MLO; mediolateral oblique"),
    ("view=cc", "CC; craniocaudal"),
    (
        "plane=3d",
        """
        3D reconstruction; 3 D reconstruction; 3D reformat; 3D reconstructed; three dimensional reconstruction; volume
        rendered; volume rendering; surface rendered; surface shaded display; shaded surface display; 3D volume; 3D
        rendering; 3D rendered; 3D image; 3 D image; 3D reformatted; 3D MIP
        """,
    ),
    ("plane=3d modality=CT", "3D CT; 3 D CT; three dimensional CT; 3D computed tomography"),
    # Sides; not those of heart chambers, of pointers, of directions
    ("side=left", "left; lt; LUL; LLL; LLQ; LUQ; left sided; LMCA; LICA"),
    ("side=right", "right; rt; RUL; RLL; RML; RLQ; RUQ; right sided; RMCA; RICA"),
    ("side=bilateral", "bilateral; bilaterally; both sides; either side; R and L; left and right; right and left"),
    (
        "",
        """
        left to right; right to left; left ventricle; right ventricle; left ventricular; right ventricular; left
        atrium; right atrium; left atrial; right atrial; left heart; right heart; left sided heart; right sided heart;
        left side of the image; right side of the image; left of midline; right of midline; left untreated; left in
        place; left behind; right angle; right away; right handed; left handed; left hand corner; right hand corner;
        from left; from right; left image; right image; left panel; right panel; image left; image right; left
        anterior descending; right coronary; left coronary; left circumflex; left main coronary; left bundle; right
        bundle; left hand side; right hand side; left anterior oblique; right anterior oblique; left posterior
        oblique; right posterior oblique; than left; than right; than the left; than the right; compared to the left;
        compared to the right; compared with the left; compared with the right; in comparison to the left; in
        comparison to the right
        """,
    ),
)


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Single words, in the form that corpus_db.phrases.form gives.
# Before a study's name, these make it another study than the one shown, unless it goes on to show something.
OTHER = _words(
    """
    after before compare compared comparison concurrent confirm confirmed confirming consider correlate correlated
    correlation corresponding during earlier following further no not old previou previously prior recommend require
    subsequent suggest unlike versu vs
    """
)
# After it, these make it a study yet to come.
WANTED = _words("advised consider could may might recommended should suggested warranted would")
SHOWS = _words(
    """
    demonstrate demonstrated demonstrating depict depicting reveal revealed revealing show showed showing shown
    """
)
# Between a study's name and the part of the body that it is of
LINKS = _words(
    """
    a an and at exam image in left level lower mid of right scan section slice study the through upper view with
    without
    """
)
# Beside T1, T2 or PD, these make it a sequence; vertebral words forbid it.
MR_WORDS = _words(
    """
    ax axial blade bright contrast cor coronal dark fast fat flair fs fse gad gadolinium gd gradient gre haste
    hyperintense hyperintensity hypointense hypointensity image intensity isointense map mr mri pd post pre
    prolongation propeller sag sagital sagittal sat scan se sequence shortening signal spin star stir tra tse turbo w
    weighted weighting wi with
    """
)
VERTEBRAL = _words(
    """
    bodie body disc disk endplate facet foramen lamina level nerve pedicle process rib root spine stage through
    vertebra vertebrae vertebral
    """
)
# Beside a bare T1, these make it the image's own sequence; findings after it do not ("T1 bright").
NAMING = _words(
    """
    ax axial cor coronal fast fat flair fs fse gad gadolinium gd image map mr mri post pre sag sagital sagittal sat
    scan se sequence spin tra tse turbo w weighted weighting wi with
    """
)
FINDING = _words(
    """
    bright dark hyperintense hyperintensity hypointense hypointensity intensity isointense prolongation shortening
    signal
    """
)
# Words for a picture, and what may stand between "lateral" and one
VIEWS = _words(
    """
    chest computed ct cut cxr film flair image kub magnetic mammogram mr mri pelvis plane projection radiograph
    roentgenogram scan scout section slice sonogram sonography t1 t1w t1wi t2 t2w t2wi ultrasound us view xray
    """
)
VIEWED = _words(
    """
    abdomen abdominal and ankle ap bearing cervical cone contrast down elbow enhanced erect fat foot frontal hand head
    hip knee lateral left lumbar magnification neck oblique or pa plain portable post right shoulder skull spine spot
    standing supine suppressed thoracic upright weight weighted wrist
    """
)
# After a letter, these make it the key to a mark on the image.
KEYS = _words("and indicate denote mark represent point")
# After a plane, these make it a measure's.
MEASURES = _words("dimension diameter")
# Parts of which there are two
PAIRED = _words(
    """
    adrenal ankle arm breast carotid cerebellar cerebral clavicle ear eye fallopian feet femoral femur foot frontal
    gland globe hand hemisphere hemithoraces hemithorax hilar hip iliac kidney knee lateral leg lobe lower lung
    maxillary occipital optic orbit ovarie ovary parietal parotid renal scapula shoulder temporal teste testicle
    thalami thalamus thyroid tube upper ureter ventricle wrist
    """
)

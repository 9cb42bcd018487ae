"""Makes src/codling/corpus/license_index.parquet: hashes of the word triples of licence texts.

Input: a folder with one JSON file per licence as in the npm package spdx-license-list (key
"licenseText", the texts of SPDX's own list), and the texts of choosealicense.com in the Python
package identify, which for some licences name other parties. Output: the table (license, variant,
hashes), of each text at most 1,200 hashes, the smallest: a random sample that is the same for all
texts. Hashes alone are kept; no text can be made of them. Beside it, license_ids.txt has all
identifiers of the list.

    npm pack spdx-license-list && tar xf spdx-license-list-6.12.0.tgz
    python tools/license_index.py package/licenses

Not here: how files are compared with it (corpus/licenses/texts.py).
"""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from identify.vendor.licenses import LICENSES as CHOOSEALICENSE

from codling.corpus.licenses.texts import triples

TARGET = (
    Path(__file__).parents[1] / "src" / "codling" / "corpus" / "licenses" / "license_index.parquet"
)
NAMES = TARGET.with_name("license_ids.txt")
MAX_HASHES = 1200
LICENSES = """
    0BSD AFL-2.1 AFL-3.0 AGPL-3.0 APSL-2.0 Apache-1.0 Apache-1.1 Apache-2.0 Artistic-1.0
    Artistic-1.0-Perl Artistic-2.0 BSD-1-Clause BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause
    BSD-3-Clause-Clear BSD-3-Clause-LBNL BSD-4-Clause BSD-4-Clause-UC BSD-Source-Code BSL-1.0
    BUSL-1.1 Beerware BlueOak-1.0.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-3.0 CC-BY-NC-4.0
    CC-BY-NC-ND-4.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-2.5 CC-BY-SA-3.0
    CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CDDL-1.1 CECILL-2.1 CECILL-B CECILL-C CNRI-Python CPL-1.0
    ECL-2.0 EFL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 Elastic-2.0 FSFAP FTL GFDL-1.1 GFDL-1.2
    GFDL-1.3 GPL-1.0 GPL-2.0 GPL-3.0 HPND HPND-sell-variant ICU IJG IPL-1.0 ISC JSON LGPL-2.0
    LGPL-2.1 LGPL-3.0 LPPL-1.3c Libpng MIT MIT-0 MIT-CMU MIT-Modern-Variant MPL-1.0 MPL-1.1
    MPL-2.0 MS-PL MS-RL MulanPSL-2.0 NAIST-2003 NCSA NTP ODC-By-1.0 ODbL-1.0 OFL-1.0 OFL-1.1
    OLDAP-2.8 OSL-3.0 OpenSSL PHP-3.01 PSF-2.0 PolyForm-Noncommercial-1.0.0 PostgreSQL
    Python-2.0 QPL-1.0 Ruby SGI-B-2.0 SMLNJ SSPL-1.0 Sleepycat TCL UPL-1.0 Unicode-3.0
    Unicode-DFS-2016 Unlicense Vim W3C WTFPL X11 ZPL-2.0 ZPL-2.1 Zend-2.0 Zlib bzip2-1.0.6
    curl libpng-2.0 libtiff zlib-acknowledgement
"""


def main() -> None:
    """Write the table from the folder of texts that is the only argument."""
    rows = []
    for name in LICENSES.split():
        path = Path(sys.argv[1]) / f"{name}.json"
        text = json.loads(path.read_text(encoding="utf-8"))["licenseText"]
        texts = [text, *(t for n, t in CHOOSEALICENSE if n == name and _differs(t, text))]
        for variant, each in enumerate(texts):
            hashes = sorted(triples(each))[:MAX_HASHES]
            rows.append({"license": name, "variant": variant, "hashes": hashes})
    schema = pa.schema(
        [("license", pa.string()), ("variant", pa.int32()), ("hashes", pa.list_(pa.uint32()))]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), TARGET, compression="zstd")
    names = sorted(p.stem for p in Path(sys.argv[1]).glob("*.json"))
    NAMES.write_text("\n".join(names) + "\n", encoding="utf-8")
    sys.stdout.write(f"{TARGET}: {len(rows)} texts, {TARGET.stat().st_size:,} bytes\n")


def _differs(text: str, known: str) -> bool:
    mine, other = triples(text), triples(known)
    return len(mine & other) < 0.95 * max(len(mine), len(other))


if __name__ == "__main__":
    main()

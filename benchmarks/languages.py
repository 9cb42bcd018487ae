"""How often the language of a file is recognised, on archives whose languages are known by hand.

Input: a folder for the archives (fetched where they are missing: Debian sources, PyPI sdists, npm
tarballs). Output: right, wrong and not recognised per extension and true language, and over all.

    python benchmarks/languages.py /tmp/language-sources [--rows tuned|check|labelled] [--errors 3]

The truth is knowledge about each project, never the extension: the headers of coreutils are C and
those of re2 C++; `.m` is MATLAB in Octave's packages, Objective-C in GNUstep, Mathematica in
Mathics; `.pl` is Prolog in SWI-Prolog, Perl in ExifTool; `.v` is Verilog in yosys, Coq in coq. The
rules of core/languages/hints.py were written with the rows `tuned` in view; those of `check` were
added afterwards (docs/benchmarks.md has their first count). `labelled` are examples of Pygments,
one folder per language, but for those whose names have no extension. Languages outside the table
have the truth "-": the right answer is none. All 338 languages are known; not measured are the 89.
"""

import argparse
import fnmatch
import re
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from packages import Kind, fetch

from codling.core.languages.table import ALIASES, LANGUAGES, detect, header_language

TUNED = """
coreutils       | *.h                                                     | c
zlib            | *.h !*contrib/iostream*                                 | c
git             | *.h                                                     | c
git             | t/*.sh                                                  | shell
jq              | *.h                                                     | c
leveldb         | *.h !*/c.h                                              | cpp
re2             | *.h                                                     | cpp
taglib          | *.h !*bindings/c/* !*ConvertUTF.h                       | cpp
abseil          | *.h *.inc                                               | cpp
gnustep-base    | Headers/*.h Source/*.h !*config* !*GSPortPrivate*       | objective-c
gnustep-base    | *.m                                                     | objective-c
octave-signal   | *.m                                                     | matlab
octave-symbolic | *.m                                                     | matlab
pypi:mathics3   | *.m                                                     | mathematica
swi-prolog      | library/*.pl boot/*.pl packages/*.pl                    | prolog
libimage-exiftool-perl | *.pl *.pm *.t                            | perl
libmojolicious-perl | *.t *.pm *.pl                                       | perl
mercurial       | *.t                                                     | -
rakudo          | *.t *.pm *.pl6 *.raku *.rakumod !3rdparty/* !tools/*    | perl-6
coq             | *.v                                                     | -
yosys           | *.v                                                     | verilog
npm:rxjs        | src/*.ts                                                | typescript
qbittorrent     | *.ts                                                    | xml
qbittorrent     | *.pro *.pri                                             | -
gnudatalanguage | *.pro                                                   | -
r-cran-dplyr    | *.R *.r                                                 | r
gforth          | *.fs                                                    | -
fpc             | *.pp *.inc *.pas                                        | pascal
puppet-module-puppetlabs-apache | *.pp                                    | puppet
php8.2          | *.inc !*/gen_ovf* !build/*                              | php
libjpeg-turbo   | *.inc *.asm                                             | assembly
happy           | *.y *.ly                                                | -
flex            | *.l                                                     | lex
picolisp        | *.l                                                     | -
pocl            | *.cl                                                    | opencl
cl-ppcre        | *.lisp *.asd                                            | common-lisp
gap             | *.g *.gd *.gi                                           | gap
antlr3          | *.g                                                     | antlr
glpk            | *.mod                                                   | ampl
swig            | Lib/*.i Lib/*.swg Examples/*.i                          | swig
pypi:sphinx     | *.cls *.sty                                             | tex
npm:@salesforce/templates | *.cls                                         | -
bc              | *.b                                                     | bc
rpcsvc-proto    | *.x                                                     | -
bwbasic         | *.bas                                                   | -
npm:@openzeppelin/contracts | *.sol                                       | solidity
libuv1          | *.h                                                     | c
curl            | *.h                                                     | c
busybox         | *.h                                                     | c
libtirpc        | *.h                                                     | c
libtirpc        | *.x                                                     | -
snappy          | *.h !*snappy-c.h                                        | cpp
fltk1.3         | FL/*.H src/*.h src/*.H !src/xutf8/* !*teapot*                | cpp
glm             | *.h *.hpp *.inl                                         | cpp
openscenegraph  | src/*.h                                                 | cpp
gnustep-gui     | Headers/*.h Source/*.m !*config*                        | objective-c
octave          | scripts/*.m                                             | matlab
octave-optim    | *.m                                                     | matlab
octave-struct   | *.m                                                     | matlab
pypi:mathics_scanner | *.m                                                | mathematica
gprolog         | *.pl                                                    | prolog
clblast         | *.opencl *.cl                                           | opencl
nasm            | *.pl *.pm                                               | perl
nasm            | *.asm *.inc                                             | assembly
aac-tactics     | *.v                                                     | -
flocq           | *.v                                                     | -
iverilog        | *.v                                                     | verilog
npm:fable-library | *.ts                                                  | typescript
speedcrunch     | *.ts                                                    | xml
speedcrunch     | *.pro                                                   | -
lazarus         | *.pas *.pp *.lpr                                        | pascal
puppet-module-puppetlabs-mysql | *.pp                                     | puppet
puppet-module-puppetlabs-firewall | *.pp                                  | puppet
syslinux        | *.inc                                                   | assembly
racc            | *.y                                                     | -
sbcl            | *.lisp *.asd                                            | common-lisp
polyml          | *.ML *.sml *.sig *.fun                                  | standard-ml
supercollider   | *.sc *.scd                                              | supercollider
supercollider   | server/*.h lang/*.h common/*.h QtCollider/*.h editors/*.h | cpp
freefem++       | *.edp *.idp                                             | freefem
asymptote       | *.asy                                                   | asymptote
racket          | *.rkt                                                   | racket
menhir          | *.ml *.mli                                              | ocaml
menhir          | *.mly                                                   | ocaml
arduino-core-avr | *.ino                                                  | arduino
lapack          | *.f *.f90                                               | fortran
ghdl            | *.vhdl *.vhd                                            | vhdl
ghdl            | *.adb *.ads                                             | ada
agda-stdlib     | *.agda                                                  | agda
vala            | *.vala                                                  | vala
texinfo         | *.pl *.pm *.t !*/mm_*                                          | perl
universal-ctags | *.1 *.5 *.7                                             | groff
libtirpc        | *.3t *.5                                                | groff
"""
CHECK = """
expat           | *.h | c
xz-utils        | *.h | c
tmux            | *.h | c
mupdf           | include/*.h source/*.h | c
capnproto       | c++/src/*.h | cpp
libsigc++-2.0   | *.h | cpp
poppler         | *.h !*glib/* | cpp
libjsoncpp      | *.h | cpp
protobuf        | src/*.h src/*.inc | cpp
octave-linear-algebra | *.m | matlab
octave-strings  | *.m | matlab
octave-mapping  | *.m | matlab
octave-geometry | *.m | matlab
octave-nan      | *.m | matlab
libdbi-perl     | *.pl *.pm *.t | perl
libwww-perl     | *.pl *.pm *.t | perl
fpga-icestorm   | *.v | verilog
coq-stdpp       | *.v | -
coq-iris        | *.v | -
coq-ext-lib     | *.v | -
mathcomp-analysis | *.v | -
npm:zod         | *.ts | typescript
npm:@types/node | *.ts | typescript
npm:@openzeppelin/contracts-upgradeable | *.sol | solidity
winff           | *.pas *.pp *.lpr *.inc | pascal
cqrlog          | *.pas *.pp *.lpr *.inc | pascal
puppet-module-puppetlabs-ntp | *.pp | puppet
puppet-module-puppetlabs-postgresql | *.pp | puppet
cl-unicode      | *.lisp *.asd | common-lisp
maxima-sage     | share/*.mac | maxima
hol-light       | *.ml | ocaml
antlr           | *.g | antlr
glmark2         | *.frag *.vert | glsl
mediawiki       | *.sql | sql
r-cran-tidyr    | *.R *.r | r
"""
"""`package | globs, with ! before those left out | true language`, "-" for one not in the table."""

_FOLDERS = """
    ahk=autohotkey amdgpu=amd-gpu apacheconf=apache-configuration
    apdl=ansys-parametric-design-language as3=actionscript asy=asymptote at=ambienttalk bash=shell
    bat=batchfile cfc=coldfusion-cfc clojurescript=clojure coffee-script=coffeescript
    control=debian-control-file cr=crystal csharp=c-sharp cython=python delphi=pascal
    django=html-django docker=dockerfile dylan-lid=dylan emacs=emacs-lisp extempore=xtlang
    fan=fantom fortranfixed=fortran fsharp=f-sharp fstar=f-star gcode=g-code graphviz=graphviz-dot
    gst=gosu html+handlebars=handlebars html+php=php hx=haxe hylang=hy i6t=inform-6-template
    javascript+mozpreproc=javascript-mozpreproc js=javascript jsp=java-server-pages
    lagda=literate-agda lasso=xml-lasso lhs=literate-haskell make=makefile md=markdown
    modula2=modula-2 moon=moonscript mysql=sql nginx=nginx-configuration-file nim=nimrod nixos=nix
    octave=matlab omg-idl=omg-interface-definition-language openedge=openedge-abl perl6=perl-6
    plpgsql=sql po=gettext-catalog postgresql=sql pot=gettext-catalog pov=pov-ray
    protobuf=protocol-buffer pug=jade ragel-ruby=ragel-in-ruby-host rb=ruby reason=reasonml
    rest=restructuredtext rst=restructuredtext s=r sc=supercollider slurm=shell sml=standard-ml
    sp=sourcepawn spin=propeller-spin splus=r sv=systemverilog ts=typescript tsql=sql v=verilog
    vb.net=visual-basic vbscript=visual-basic vim=viml wast=webassembly wat=webassembly
    webidl=web-idl
"""
PYGMENTS = dict(each.split("=") for each in _FOLDERS.split())
"""Folders of Pygments' examples -> our keys, where they differ in name."""


def main() -> None:
    """Count the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", default="tuned,check,labelled")
    parser.add_argument("--errors", type=int, default=0, help="wrong files to print per row")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sources = Sources(arguments.folder)
    for name in arguments.rows.split(","):
        files = labelled(sources) if name == "labelled" else known(sources, name)
        report(name, files, arguments.errors)


def known(sources: "Sources", name: str) -> Iterator[tuple[str, bytes, str, str]]:
    """(path, content, true language, language of plain headers there) of what the rows name."""
    for line in {"tuned": TUNED, "check": CHECK}[name].strip().splitlines():
        package, globs, truth = (part.strip() for part in line.split("|"))
        wanted = [g for g in globs.split() if not g.startswith("!")]
        unwanted = [g[1:] for g in globs.split() if g.startswith("!")]
        header = header_language(sources.names(package))
        for path, content in sources.files(package):
            if any(fnmatch.fnmatchcase(path, g) for g in wanted) and not any(
                fnmatch.fnmatchcase(path, g) for g in unwanted
            ):
                yield f"{package.rpartition(':')[2]}/{path}", content, truth, header


def labelled(sources: "Sources") -> Iterator[tuple[str, bytes, str, str]]:
    """The examples of Pygments, of which the folder is the language."""
    names = {row.name.lower(): key for key, row in LANGUAGES.items()}
    names |= {key: key for key in LANGUAGES} | {a.lower(): key for a, key in ALIASES.items()}
    for path, content in sources.files("pypi:pygments"):
        match = re.fullmatch(r"tests/examplefiles/([^/]+)/([^/]+)", path)
        if match and "." in match[2] and not path.endswith((".output", ".txt", "_coq.v")):
            folder = match[1]
            yield path, content, PYGMENTS.get(folder) or names.get(folder, "-"), "c"


def report(name: str, files: Iterator[tuple[str, bytes, str, str]], n_errors: int) -> None:
    """Print the counts per extension and true language, and over all."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    errors: dict[tuple[str, str], list[str]] = {}
    seconds, n_bytes = 0.0, 0
    for path, content, truth, header in files:
        if not content.strip():
            continue
        started = time.process_time()
        found = detect(path, content, extended=True, header=header)
        seconds += time.process_time() - started
        n_bytes += len(content)
        last = path.rpartition("/")[2]
        key = (last[last.rindex(".") :] if "." in last else "", truth)
        verdict = "right" if (found or "-") == truth else "none" if found is None else "wrong"
        rows.setdefault(key, Counter())[verdict] += 1
        if verdict != "right":
            errors.setdefault(key, []).append(f"{path} -> {found}")
    print(f"## {name}\n\n| extension | language | files | right | wrong | not recognised |")
    print("|---|---|---|---|---|---|")
    for (extension, truth), row in sorted(rows.items()):
        n = sum(row.values())
        share, wrong, none = row["right"] / n, row["wrong"], row["none"]
        print(f"| {extension} | {truth} | {n} | {share:.3f} | {wrong} | {none} |")
        for error in errors.get((extension, truth), [])[:n_errors]:
            print(f"|   {error}")
    total = sum(rows.values(), Counter())
    n_files = sum(total.values())
    shares = [row["right"] / sum(row.values()) for row in rows.values()]
    print(
        f"\n{name}: {n_files:,} files, right {total['right'] / n_files:.4f}, "
        f"mean over rows {sum(shares) / len(shares):.4f}, wrong {total['wrong']}, "
        f"not recognised {total['none']}; {1e6 * seconds / n_files:.0f} us a file\n"
    )


class Sources:
    """The archives, fetched where they are missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, package: str) -> Iterator[tuple[str, bytes]]:
        """(path without the top folder, content) of every file."""
        with tarfile.open(self.path(package)) as tar:
            for member in tar:
                if member.isfile():
                    file = tar.extractfile(member)
                    assert file is not None
                    yield member.name.partition("/")[2], file.read()

    def names(self, package: str) -> list[str]:
        """The names of all files of an archive."""
        with tarfile.open(self.path(package)) as tar:
            return tar.getnames()

    def path(self, package: str) -> Path:
        """Where the archive lies."""
        kind, _, name = package.rpartition(":")
        found = fetch(cast(Kind, kind or "debian"), name, self.folder)
        for path in found:
            if ".debian." not in path.name:
                return path
        raise FileNotFoundError(f"no archive of {package} can be fetched")


if __name__ == "__main__":
    main()

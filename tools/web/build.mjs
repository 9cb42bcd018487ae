// Makes ../../src/codling/serve/web/codemirror.js and the licences beside it from node_modules.
//
// The same bytes every time: versions and hashes stand in package-lock.json, and what is written names no path
// of this machine and no time. The first line holds the SHA-256 of what it was made from, which a test compares.

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = process.argv[2] ?? join(HERE, "../../src/codling/serve/web");
const SOURCES = ["build.mjs", "editor.js", "package.json", "package-lock.json"];

const made = await build({
  absWorkingDir: HERE,
  entryPoints: ["editor.js"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "ascii",
  legalComments: "none",
  metafile: true,
  write: false,
});
const code = made.outputFiles[0].text;
const packages = [...new Set(Object.keys(made.metafile.inputs).map(packageOf).filter(Boolean))].sort();
writeFileSync(join(OUT, "codemirror.js"), `${head()}\n${code}`);
writeFileSync(join(OUT, "codemirror.LICENSES.txt"), packages.map(notice).join(`\n${"-".repeat(100)}\n\n`));
console.log(`codemirror.js: ${(code.length / 1024).toFixed(0)} KiB of ${packages.length} packages`);

function head() {
  const hash = createHash("sha256");
  for (const name of SOURCES) hash.update(readFileSync(join(HERE, name)));
  return `/* CodeMirror 6, see codemirror.LICENSES.txt; made by make web from tools/web, SHA-256 ${hash.digest("hex")} */`;
}

function packageOf(path) {
  return path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1];
}

function notice(name) {
  const folder = join(HERE, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  if (!file || !existsSync(join(folder, file))) throw new Error(`${name} comes without its licence`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
}

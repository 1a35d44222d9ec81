// Compares what `wardline rules lint --sarif` writes with the JSON schema of SARIF 2.1.0, which a package of npm brings.
//
//     npm --prefix tests/sarif ci && node tests/sarif/run.mjs
//
// Needs the command: WARDLINE names it, otherwise it is target/debug/wardline.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import Ajv from "ajv";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
const wardline = process.env.WARDLINE ?? join(target, "debug/wardline");

// The package's main file stands beside the schemas.
const require = createRequire(import.meta.url);
const library = dirname(require.resolve("@microsoft/jest-sarif"));
const schema = JSON.parse(readFileSync(join(library, "schemas/sarif-2.1.0-rtm.5.json"), "utf8"));
const ajv = new Ajv({ schemaId: "auto", allErrors: true, unknownFormats: ["uri", "uri-reference", "uri-template"] });
ajv.addMetaSchema(require("ajv/lib/refs/json-schema-draft-04.json"));
const isValid = ajv.compile(schema);

function lint(...paths) {
  const { status, stdout, stderr, error } = spawnSync(wardline, ["rules", "lint", "--sarif", ...paths], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (error || status > 1) throw new Error(`${wardline} rules lint ${paths.join(" ")}: ${error ?? stderr}`);
  return JSON.parse(stdout);
}

let failed = false;
function check(what, log, valid = true) {
  const right = isValid(log) === valid;
  const results = log.runs?.[0]?.results?.length ?? 0;
  console.log(`${right ? "ok" : "WRONG"}: ${what}, ${results} results`);
  if (!right) {
    failed = true;
    for (const e of (isValid.errors ?? []).slice(0, 10)) console.log(`    ${e.dataPath}: ${e.message}`);
  }
  return results;
}

const folder = mkdtempSync(join(tmpdir(), "wardline-sarif-"));
try {
  writeFileSync(join(folder, "with space, ü and %.yml"), "title: [\n");
  writeFileSync(join(folder, "latin1.yml"), Buffer.from([0x74, 0xe9]));
  writeFileSync(join(folder, "right.yml"), readFileSync(join(root, "core/sigma/tests/lint/nothing_to_say.rule.yml")));
  const cases = lint("core/sigma/tests/lint");
  if (check("the linter's own cases", cases) < 50) throw new Error("too few findings to say anything");
  if (check("files that cannot be read", lint(folder)) !== 2) throw new Error("expected two findings");
  check("nothing found", lint(join(folder, "right.yml")));
  // What the schema refuses is refused: a line that does not exist, a level of our own, no message.
  for (const [what, spoil] of [
    ["a line 0", (result) => (result.locations[0].physicalLocation.region = { startLine: 0 })],
    ["an unknown level", (result) => (result.level = "fatal")],
    ["no message", (result) => delete result.message],
  ]) {
    const spoilt = structuredClone(cases);
    spoil(spoilt.runs[0].results[0]);
    check(`${what} is refused`, spoilt, false);
  }
} finally {
  rmSync(folder, { recursive: true });
}
process.exit(failed ? 1 : 0);

// Writes dist/: the style sheet, the scripts and the icon that the hub's binary carries.
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "sass";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const dist = join(here, "dist");

const { css } = compile(join(here, "src/console.scss"), {
  loadPaths: [join(modules, "nhsuk-frontend/dist")],
  style: "compressed",
  quietDeps: true,
});
// The console promises that no page asks anybody else for anything; a style sheet could break that silently.
const outside = css.match(/(?:@import|url\()\s*["']?(?!data:)[^;)]*/g);
if (outside) {
  console.error(`console.css would load something: ${outside.join(", ")}`);
  process.exit(1);
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist);
await writeFile(join(dist, "console.css"), css);
await copyFile(join(here, "src/console.js"), join(dist, "console.js"));
await copyFile(join(here, "src/favicon.svg"), join(dist, "favicon.svg"));
await copyFile(join(modules, "htmx.org/dist/htmx.min.js"), join(dist, "htmx.min.js"));
await copyFile(join(modules, "htmx-ext-sse/dist/sse.min.js"), join(dist, "sse.js"));

for (const name of ["console.css", "console.js", "favicon.svg", "htmx.min.js", "sse.js"]) {
  const bytes = (await readFile(join(dist, name))).length;
  console.log(`${name.padEnd(14)} ${(bytes / 1024).toFixed(1).padStart(6)} kB`);
}

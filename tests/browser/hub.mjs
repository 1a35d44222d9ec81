// The hub under test: the one that WARDLINE_URL names (a sign-in link), or the console's preview, built and started here.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Starts a hub. `link` signs in once; `order` speaks to the preview and is absent for a foreign hub. */
export async function startHub(...options) {
  if (process.env.WARDLINE_URL) {
    return { link: process.env.WARDLINE_URL, order: null, stop: async () => {} };
  }
  const build = spawnSync("cargo", ["build", "--quiet", "--workspace", "--example", "console_preview"], {
    cwd: root,
    stdio: "inherit",
  });
  if (build.status !== 0) throw new Error("the console's preview does not build");
  const target = process.env.CARGO_TARGET_DIR ?? `${root}/target`;
  const child = spawn(`${target}/debug/examples/console_preview`, options, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const [link] = await Promise.race([
    once(lines, "line"),
    once(child, "exit").then(([code]) => {
      throw new Error(`the console's preview ended with ${code} before it said where it is`);
    }),
  ]);
  return {
    link,
    order: (word) => child.stdin.write(`${word}\n`),
    stop: async () => {
      child.stdin.end();
      if (child.exitCode === null) await once(child, "exit");
    },
  };
}

// Bundles the explorer: npm ci && npm run build. The result is committed, so users need no node.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
await build({
  absWorkingDir: here,
  entryPoints: [
    { in: "index.js", out: "explorer" },
    { in: "style/index.css", out: "explorer" },
  ],
  outdir: process.argv[2] ?? "../static",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "ascii", // safe in a page of any encoding
  legalComments: "none", // the banner names the one library
  banner: {
    js: "// Made from frviz/explorer/js by make explorer; holds d3-quadtree 3.0.1 (ISC, (c) 2010-2021 Mike Bostock).",
  },
});

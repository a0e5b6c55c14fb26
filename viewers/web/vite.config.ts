// How are the pages built, and how does a developer's server reach the gateway?
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// `TELEREAD_URL=http://127.0.0.1:8080 npm run dev` serves the pages with live sources and passes data requests on.
const gateway = process.env.TELEREAD_URL;
const passedOn = ["/api", "/dicom-web", "/healthz", "/readyz"];

export default defineConfig({
  base: "/",
  plugins: [svelte()],
  worker: { format: "es" },
  resolve: {
    // vtk.js pulls xmlbuilder2, which wants Node's `events` and leaves a blank page; nothing here writes XML.
    alias: { xmlbuilder2: new URL("./src/lib/no-xml.ts", import.meta.url).pathname },
  },
  optimizeDeps: { exclude: ["@cornerstonejs/dicom-image-loader"], include: ["dicom-parser"] },
  build: {
    target: "chrome109",
    cssTarget: "chrome109",
    sourcemap: false,
    // Small assets stay files: a strict CSP has no data: for scripts, and icons are shared by every page.
    assetsInlineLimit: 0,
    // The polyfill would be an inline script on old browsers only; Chrome 109 preloads by itself.
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 5000,
  },
  server: {
    host: "127.0.0.1",
    proxy: gateway === undefined ? {} : Object.fromEntries(passedOn.map((path) => [path, { target: gateway }])),
  },
});

// Which unit tests run, and where? (Logic only: the pages themselves are tested in a real browser.)
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [svelte()],
  test: { include: ["src/**/*.test.ts"], environment: "node", pool: "threads", maxWorkers: 1 },
});

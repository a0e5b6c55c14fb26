// How is cornerstone3D started, once, and emptied between patients?

import { cache, getRenderingCapabilities, init as initCore, RenderingEngine, setUseCPURendering } from "@cornerstonejs/core";
import { init as initLoader, wadors } from "@cornerstonejs/dicom-image-loader";
import * as tools from "@cornerstonejs/tools";

const ENGINE = "reading";
const GROUP = "reading";
/** Old clinic PCs have 4 GB; pictures beyond this are fetched again when they are looked at. */
const CACHE_BYTES = 1_000_000_000;
const MOST_WORKERS = 4;

export type ToolName = "window" | "zoom" | "pan" | "length";

const TOOL = {
  window: tools.WindowLevelTool.toolName,
  zoom: tools.ZoomTool.toolName,
  pan: tools.PanTool.toolName,
  length: tools.LengthTool.toolName,
} as const satisfies Record<ToolName, string>;

export const LENGTH_TOOL = TOOL.length;

let started: Promise<RenderingEngine> | null = null;

/** Start the engine; the same one every time. */
export function engine(): Promise<RenderingEngine> {
  started ??= start();
  return started;
}

/** Is there a graphics card worth using? A software one is seven times slower than drawing on the processor. `?cpu` and `?gpu` decide by hand. */
function wantsProcessor(): boolean {
  const asked = new URLSearchParams(location.search);
  if (asked.has("cpu") || asked.has("gpu")) return asked.has("cpu");
  const { webgl, softwareRasterizer } = getRenderingCapabilities();
  return !webgl || softwareRasterizer;
}

function start(): Promise<RenderingEngine> {
  initCore();
  setUseCPURendering(wantsProcessor());
  initLoader({ maxWebWorkers: Math.max(1, Math.min(MOST_WORKERS, navigator.hardwareConcurrency - 1)) });
  tools.init();
  cache.setMaxCacheSize(CACHE_BYTES);
  for (const tool of [tools.WindowLevelTool, tools.ZoomTool, tools.PanTool, tools.LengthTool]) tools.addTool(tool);
  const group = tools.ToolGroupManager.createToolGroup(GROUP);
  for (const name of Object.values(TOOL)) group?.addTool(name);
  const style = tools.annotation.config.style.getDefaultToolStyles();
  const tokens = getComputedStyle(document.documentElement);
  const token = (name: string): string => tokens.getPropertyValue(name).trim();
  // Labels are our own (see measurements.ts): those of the library write style attributes, which the CSP forbids.
  tools.annotation.config.style.setDefaultToolStyles({
    ...style,
    global: {
      ...style.global,
      color: token("--mark"),
      colorHighlighted: token("--accent"),
      colorSelected: token("--accent"),
      lineWidth: "1.5",
      shadow: false,
      textBoxVisibility: false,
    },
  } as Parameters<typeof tools.annotation.config.style.setDefaultToolStyles>[0]);
  return Promise.resolve(new RenderingEngine(ENGINE));
}

/** Let the tools work in a viewport, with one of them on the left button. */
export function attach(viewportId: string, tool: ToolName): void {
  tools.ToolGroupManager.getToolGroup(GROUP)?.addViewport(viewportId, ENGINE);
  useTool(tool);
}

export function detach(viewportId: string): void {
  tools.ToolGroupManager.getToolGroup(GROUP)?.removeViewports(ENGINE, viewportId);
}

/** Put one tool on the left button; the right one zooms and the middle one moves, always. */
export function useTool(name: ToolName): void {
  const group = tools.ToolGroupManager.getToolGroup(GROUP);
  const { Primary, Secondary, Auxiliary } = tools.Enums.MouseBindings;
  for (const one of Object.keys(TOOL) as ToolName[]) {
    const bindings = [
      ...(one === name ? [{ mouseButton: Primary }] : []),
      ...(one === "zoom" ? [{ mouseButton: Secondary }] : []),
      ...(one === "pan" ? [{ mouseButton: Auxiliary }] : []),
    ];
    group?.setToolPassive(TOOL[one], { removeAllBindings: true });
    if (bindings.length > 0) group?.setToolActive(TOOL[one], { bindings });
  }
}

/** Forget pictures, descriptions and measurements: nothing of one patient stays for the next. */
export function forgetAll(): void {
  tools.annotation.state.removeAllAnnotations();
  cache.purgeCache();
  wadors.metaDataManager.purge();
}

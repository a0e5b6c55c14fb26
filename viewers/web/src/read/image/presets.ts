// Which windows do the number keys choose?

import type { Words } from "../../lib/i18n";

export interface Window {
  readonly center: number;
  readonly width: number;
}

/** A window with its name. Without a window it is the picture's own (key 0 and the first preset of plain pictures). */
export interface Preset extends Window {
  readonly key: number;
  readonly name: Words;
}

/** Hounsfield windows as taught and as set on most consoles. */
const CT: readonly [Words, number, number][] = [
  [["肺", "Lung"], -600, 1500],
  [["纵隔", "Soft"], 40, 400],
  [["骨", "Bone"], 400, 2000],
  [["脑", "Brain"], 40, 80],
  [["硬膜下", "Subdural"], 75, 215],
  [["卒中", "Stroke"], 35, 40],
  [["肝", "Liver"], 60, 160],
  [["血管", "Vessels"], 300, 600],
  [["颞骨", "Temporal"], 600, 4000],
];

/** Presets for a picture: Hounsfield windows for CT, else the windows that the device wrote into the picture. */
export function presetsFor(modality: string, own: readonly Window[], explained: readonly string[]): Preset[] {
  if (modality === "CT") return CT.map(([name, center, width], i) => ({ key: i + 1, name, center, width }));
  const stored = own.filter(({ width }) => width > 0).slice(0, 4);
  const first = stored[0];
  if (first === undefined) return [];
  const presets = stored.map((window, i) => ({ key: i + 1, name: nameOf(i, explained[i]), ...window }));
  const derived: readonly [Words, number][] = [
    [["高对比", "Hard"], 0.6],
    [["低对比", "Flat"], 1.6],
  ];
  for (const [name, factor] of derived) {
    presets.push({ key: presets.length + 1, name, center: first.center, width: Math.max(1, first.width * factor) });
  }
  return presets;
}

function nameOf(index: number, explained: string | undefined): Words {
  const said = explained?.trim();
  if (said !== undefined && said !== "" && said.length <= 12) return [said, said];
  return index === 0 ? ["原始", "As stored"] : [`窗 ${index + 1}`, `Window ${index + 1}`];
}

/** "L −600 W 1500", whole numbers, with a real minus. */
export function windowWords({ center, width }: Window): string {
  return `L ${figure(center)} W ${figure(width)}`;
}

const figure = (value: number): string => String(Math.round(value)).replace("-", "−");

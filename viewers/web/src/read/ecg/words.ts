// How are the settings and faults of an ECG said in words?

import type { EcgRecording } from "../../lib/api";
import { t } from "../../lib/i18n";
import type { Measured } from "./sheet";

const figure = (value: number): string => String(Number(value.toFixed(2)));

/** "0.05–150 Hz" as recorded; what the device did not say is not guessed. */
export function filterWords({ low_hz, high_hz, notch_hz }: EcgRecording["filter"]): string {
  const band = bandWords(low_hz, high_hz);
  return notch_hz === null ? band : t(`${band}，${figure(notch_hz)} Hz 陷波`, `${band}, ${figure(notch_hz)} Hz notch`);
}

function bandWords(low: number | null, high: number | null): string {
  if (low !== null && high !== null) return `${figure(low)}–${figure(high)} Hz`;
  if (low !== null) return t(`${figure(low)} Hz 起，上限未注明`, `from ${figure(low)} Hz, upper not stated`);
  if (high !== null) return t(`至 ${figure(high)} Hz，下限未注明`, `to ${figure(high)} Hz, lower not stated`);
  return t("滤波未注明", "filter not stated");
}

export function measuredWords({ ms, perMinute, mv }: Measured): string {
  const volts = `${mv < 0 ? "−" : ""}${Math.abs(mv).toFixed(2)} mV`;
  const rate = perMinute > 0 && perMinute < 1000 ? ` · ${Math.round(perMinute)} /min` : "";
  return `${Math.round(ms)} ms${rate} · ${volts}`;
}

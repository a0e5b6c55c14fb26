// What does an ECG recording of the server mean in numbers?

import type { EcgRecording } from "../../lib/api";

/** One lead in microvolts; NaN where the device recorded nothing. */
export interface Lead {
  readonly name: string;
  readonly uv: Float32Array;
  /** Constant taken off for drawing, in µV: zero unless the lead lies far off its zero line. */
  readonly shiftUv: number;
}

export interface Recording {
  readonly sopUid: string;
  /** Names the content of the instance it was read from. */
  readonly v: string;
  readonly samplingHz: number;
  readonly seconds: number;
  readonly leads: readonly Lead[];
}

/** Beyond this the trace would leave its row; a constant says nothing about the heart (the amplifier is AC coupled). */
const FAR_OFF_UV = 500;

/** Decode the samples (base64 of little-endian float32, µV). Throws RangeError when the bytes are not whole samples. */
export function recordingOf(ecg: EcgRecording): Recording {
  const leads = ecg.leads.map((lead) => {
    const uv = samplesOf(lead.samples_uv);
    const middle = median(uv);
    return { name: lead.name, uv, shiftUv: Math.abs(middle) > FAR_OFF_UV ? middle : 0 };
  });
  return { sopUid: ecg.sop_uid, v: ecg.v, samplingHz: ecg.sampling_hz, seconds: ecg.seconds, leads };
}

export function samplesOf(base64: string): Float32Array {
  const text = atob(base64);
  if (text.length % 4 !== 0) throw new RangeError("samples are cut off");
  const view = new DataView(new ArrayBuffer(text.length));
  for (let i = 0; i < text.length; i++) view.setUint8(i, text.charCodeAt(i));
  const samples = new Float32Array(text.length / 4);
  for (let i = 0; i < samples.length; i++) samples[i] = view.getFloat32(i * 4, true);
  return samples;
}

/** The middle of the recorded values; 0 of an empty lead. */
export function median(uv: Float32Array): number {
  const sorted = uv.filter((value) => !Number.isNaN(value)).sort();
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

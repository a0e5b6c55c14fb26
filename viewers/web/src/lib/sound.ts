// When does a critical result make itself heard, and how gently?
import { createSubscriber } from "svelte/reactivity";

/** Between two tones while somebody must still answer. */
const EVERY_MS = 9_000;
const watching = new Set<() => void>();
const watched = createSubscriber((update) => {
  watching.add(update);
  return () => watching.delete(update);
});

let audio: AudioContext | null = null;
let repeating: ReturnType<typeof setInterval> | undefined;
let mayRing = false;
let rang = 0;

/** Browsers forbid, and people hate, sound before the first click: open the way on the first gesture. */
function open(): void {
  if (audio !== null || typeof AudioContext === "undefined") return;
  audio = new AudioContext();
  void audio.resume();
  for (const update of watching) update();
}

if (typeof window !== "undefined") {
  for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, open, { once: true });
  // One tab of this browser rings, not all of them at once.
  if (navigator.locks === undefined) mayRing = true;
  else
    void navigator.locks.request("teleread-sound", () => {
      mayRing = true;
      return new Promise<void>(() => undefined); // held as long as this tab lives
    });
}

/** Reactive: has the first gesture opened the way for sound? */
export function soundOpen(): boolean {
  watched();
  return audio !== null;
}

/** Two soft falling tones, like a ward call, under a second. */
export function ring(): void {
  if (audio === null || !mayRing) return;
  rang = Date.now();
  const start = audio.currentTime + 0.02;
  for (const [hertz, after] of [[660, 0], [528, 0.26]] as const) {
    const tone = audio.createOscillator();
    const loudness = audio.createGain();
    tone.type = "sine";
    tone.frequency.value = hertz;
    loudness.gain.setValueAtTime(0, start + after);
    loudness.gain.linearRampToValueAtTime(0.18, start + after + 0.04);
    loudness.gain.exponentialRampToValueAtTime(0.001, start + after + 0.5);
    tone.connect(loudness).connect(audio.destination);
    tone.start(start + after);
    tone.stop(start + after + 0.55);
  }
}

/** Ring until told to stop. Calling it again while it rings changes nothing. */
export function keepRinging(): void {
  if (repeating !== undefined) return;
  // Going from page to page must not make it ring faster.
  if (Date.now() - rang > EVERY_MS / 2) ring();
  repeating = setInterval(ring, EVERY_MS);
}

export function stopRinging(): void {
  clearInterval(repeating);
  repeating = undefined;
}

// Which critical results has nobody confirmed yet, and who must hear of them?
import { api, type Critical } from "./api";
import { onLive } from "./live";
import { who } from "./session.svelte";
import { keepRinging, ring, soundOpen, stopRinging } from "./sound";

class CriticalResults {
  open = $state.raw<Critical[]>([]);
  /** False until the server has answered once: "none open" is then not known. */
  known = $state(false);
  failed = $state(false);
}

export const critical = new CriticalResults();

const heard = new Set<string>();
let asking = 0;
let watchers = 0; // the next page may open before the last one closes

/** Ask again. The last good answer stays when the line is dead. */
export async function refreshCritical(): Promise<void> {
  const mine = ++asking;
  try {
    const { open } = await api.critical.open();
    if (mine !== asking) return;
    critical.open = open;
    critical.known = true;
    critical.failed = false;
  } catch {
    critical.failed = true;
  }
}

/** Hear of critical results while this page is open, until the answer is called. */
export function watchCritical(): () => void {
  watchers += 1;
  void refreshCritical();
  const off = [onLive("critical", () => void refreshCritical()), onLive("opened", () => void refreshCritical())];
  return () => {
    for (const stop of off) stop();
    watchers -= 1;
    if (watchers === 0) stopRinging();
  };
}

/** Let a locked screen ring; call the answer when it is left. */
export function watchLocked(): () => void {
  watchers += 1;
  return () => {
    watchers -= 1;
    if (watchers === 0) stopRinging();
  };
}

/** Ring as this person needs it. Call from an effect: follows list, sound and person. */
export function soundCritical(): void {
  const open = critical.open;
  if (!soundOpen() || (who.presence !== "in" && who.presence !== "locked")) {
    stopRinging();
    return;
  }
  if (who.presence === "locked") {
    // The server counts only what calls this person.
    if (who.waiting > 0) keepRinging();
    else stopRinging();
    return;
  }
  // Those who must answer hear it until somebody did; a reader, who cannot, hears it once.
  if (who.is("doctor", "coordinator")) {
    if (open.length > 0) keepRinging();
    else stopRinging();
  } else if (open.some((one) => !heard.has(one.id))) ring();
  for (const one of open) heard.add(one.id);
}

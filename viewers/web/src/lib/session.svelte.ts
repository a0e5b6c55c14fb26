// Who sits here, may they still act, and what happens when they leave?
import { ApiError, api, onDoor, type Role, type Session } from "./api";
import { onLive, startLive, stopLive } from "./live";
import { go } from "./route.svelte";
import { serverNow, showIn } from "./time";

export type Presence = "asking" | "out" | "in" | "locked" | "unreachable";

export interface RecentPerson {
  name: string;
  display: string;
  display_en: string;
  roles: Role[];
}

const RECENT = "teleread.recent";
const WORKPLACE = "teleread.workplace";
const ACTIVE = "teleread.active";
const TABS = "teleread.tabs";
const RECENT_KEPT = 4;

class Who {
  presence = $state<Presence>("asking");
  session = $state.raw<Session | null>(null);
  /** The display name of the person whose work lies beneath the lock. */
  lockedBy = $state<{ name: string; display: string; display_en: string } | null>(null);
  /** How many critical results call that person; a locked screen is told no more. */
  waiting = $state(0);

  get user() {
    return this.session?.user ?? null;
  }
  get site() {
    return this.session?.site ?? null;
  }
  is(...roles: Role[]): boolean {
    return this.session?.user.roles.some((role) => roles.includes(role)) ?? false;
  }
  /** May sign without a password at this moment. */
  get maySign(): boolean {
    const until = this.session?.signing_until;
    return until !== null && until !== undefined && Date.parse(until) > serverNow();
  }
}

export const who = new Who();

const leaving = new Set<() => Promise<unknown>>();

/** Save what must be saved before the workstation is locked or handed over; call the answer to stop. */
export function beforeLock(save: () => Promise<unknown>): () => void {
  leaving.add(save);
  return () => leaving.delete(save);
}

async function saveAll(): Promise<void> {
  const saved = Promise.allSettled([...leaving].map((save) => save()));
  // A dead line must not keep the screen open.
  await Promise.race([saved, new Promise((done) => setTimeout(done, 2000))]);
}

function seat(session: Session): void {
  // A page made for one person is never shown to another.
  if (who.session !== null && who.session.user.name !== session.user.name) go(landing(session), { replace: true });
  tellTabs("in", session.user.name);
  showIn(session.site.timezone);
  who.session = session;
  who.lockedBy = null;
  who.waiting = 0;
  who.presence = "in";
  remember(session);
  touch();
  startLive(session.csrf);
}

/** Ask who is signed in: at the start, and when another tab or the server has changed it. */
export async function findOut(): Promise<void> {
  try {
    const session = await api.session.get();
    if (who.presence === "in" && who.session?.csrf === session.csrf) who.session = session;
    else seat(session);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 423) {
      beLocked(error.details.user as Who["lockedBy"]);
      who.waiting = waitingOf(error);
    } else if (error.status === 401) {
      // Never throw away a page that holds work: ask for the password over it.
      if (who.session === null) who.presence = "out";
      else beLocked();
    } else if (who.session === null) who.presence = "unreachable";
  }
}

export async function signIn(name: string, password: string): Promise<Session> {
  const session = await api.session.signIn(name, password);
  seat(session);
  return session;
}

/** Open the lock again. Where the session itself has ended meanwhile, the same person signs in anew. */
export async function unlock(name: string, password: string): Promise<void> {
  try {
    seat(await api.session.unlock(password));
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "not_signed_in") throw error;
    seat(await api.session.signIn(name, password));
  }
}

/** Enter the password again to sign without one for the policy's minutes. */
export async function unlockSigning(password: string): Promise<void> {
  who.session = await api.session.signing(password);
}

export async function signOut(): Promise<void> {
  await saveAll();
  await api.session.signOut().catch(() => undefined);
  tellTabs("out", "");
  beOut();
}

function beOut(): void {
  stopLive();
  who.session = null;
  who.waiting = 0;
  who.presence = "out";
}

function beLocked(person: Who["lockedBy"] = null): void {
  if (who.presence === "locked") return;
  who.lockedBy = person ?? who.session?.user ?? null;
  who.presence = "locked";
  startLive(who.session?.csrf ?? "locked", true);
}

const waitingOf = (error: ApiError): number => Number(error.details.critical_open ?? 0);

/** The nameless stream was refused: has the session ended? Nothing is told to one that has. */
async function askLocked(): Promise<void> {
  const error = await api.session.get().then(() => null, (failed: unknown) => failed);
  if (who.presence !== "locked" || !(error instanceof ApiError)) return;
  if (error.status === 423) who.waiting = waitingOf(error);
  else if (error.status === 401) {
    stopLive();
    who.waiting = 0;
  }
}

/** Hide everything and end signing; the page beneath keeps its state. */
export async function lock(): Promise<void> {
  if (who.presence !== "in") return;
  await saveAll();
  tellTabs("locked", who.user?.name ?? "");
  beLocked();
  await api.session.lock().catch(() => undefined);
}

// ---- the other tabs of this browser share the cookie, so they must share what it means -----------------------------
type Told = { what: "in" | "locked" | "out"; name: string; at: number };

function tellTabs(what: Told["what"], name: string): void {
  const told: Told = { what, name, at: Date.now() };
  localStorage.setItem(TABS, JSON.stringify(told));
}

function hearTabs(event: StorageEvent): void {
  if (event.key !== TABS || event.newValue === null) return;
  const told = JSON.parse(event.newValue) as Told;
  if (told.what === "out" && who.presence !== "out") beOut();
  else if (told.what === "locked" && who.presence === "in") beLocked();
  else if (told.what === "in" && (who.presence !== "in" || who.user?.name !== told.name)) void findOut();
}

onDoor({
  signedOut: () => {
    // The page beneath may hold unsaved text: ask for the password over it instead of throwing it away.
    if (who.presence === "in") beLocked();
  },
  locked: (person) => beLocked(person as Who["lockedBy"]),
  changed: () => void findOut(),
});

/** Where each role begins its day. */
export function landing(session: Session): string {
  const roles = session.user.roles;
  if (roles.includes("reader") || roles.includes("reviewer")) return "/worklist";
  if (roles.includes("doctor")) return "/center";
  return "/board";
}

// The stream was refused, not cut: the session has ended or is locked.
onLive("refused", () => {
  if (who.presence === "in") void findOut();
  else if (who.presence === "locked") void askLocked();
});

onLive("waiting", ({ open }) => {
  who.waiting = open;
  if (who.presence === "in") void findOut(); // the server has locked what this page thinks is open
});

// ---- recent people of this workstation (names of staff only, never of patients) ----------------------------------
export function recentPeople(): RecentPerson[] {
  try {
    return JSON.parse(localStorage.getItem(RECENT) ?? "[]") as RecentPerson[];
  } catch {
    return [];
  }
}

/** Name of the institution last signed in to here, for the sign-in page. */
export function workplace(): { name: string; name_en: string } | null {
  try {
    return JSON.parse(localStorage.getItem(WORKPLACE) ?? "null") as { name: string; name_en: string } | null;
  } catch {
    return null;
  }
}

function remember({ user, site }: Session): void {
  const person: RecentPerson = { name: user.name, display: user.display, display_en: user.display_en, roles: user.roles };
  const kept = [person, ...recentPeople().filter((other) => other.name !== user.name)].slice(0, RECENT_KEPT);
  localStorage.setItem(RECENT, JSON.stringify(kept));
  localStorage.setItem(WORKPLACE, JSON.stringify({ name: site.name, name_en: site.name_en }));
}

export function forgetPerson(name: string): void {
  localStorage.setItem(RECENT, JSON.stringify(recentPeople().filter((person) => person.name !== name)));
}

// ---- idleness ----------------------------------------------------------------------------------------------------
let noted = 0;
let askedAt = 0;

/** A sign of life. Shared by all tabs, so that work in one keeps the others open. */
function touch(): void {
  const at = Date.now();
  if (at - noted < 1000) return;
  noted = at;
  localStorage.setItem(ACTIVE, String(at));
}

/** Has nobody touched this browser for the session's idle time? */
export const isIdle = (at: number, lastTouch: number, idleSeconds: number): boolean => at - lastTouch >= idleSeconds * 1000;

/** Watch hands, clock and the other tabs; call once. */
export function watchIdleness(): void {
  for (const sign of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) addEventListener(sign, touch, { passive: true });
  addEventListener("storage", hearTabs);
  setInterval(() => {
    if (who.presence === "unreachable") void findOut();
    if (who.presence !== "in" || who.session === null) return;
    const at = Date.now();
    const last = Math.max(noted, Number(localStorage.getItem(ACTIVE) ?? 0));
    const idle = who.session.idle_seconds;
    if (isIdle(at, last, idle)) void lock();
    else if (last > askedAt && at - askedAt > (idle * 1000) / 10) {
      // Scrolling loaded pictures asks the server nothing: say that somebody is here before it locks by itself.
      askedAt = at;
      void api.session.get().then((session) => { if (who.presence === "in" && session.user.name === who.user?.name) who.session = session; })
        .catch((error: unknown) => { if (error instanceof ApiError && (error.status === 401 || error.status === 423)) beLocked(); });
    }
  }, 5000);
}

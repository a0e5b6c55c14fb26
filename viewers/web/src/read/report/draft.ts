// Where is the text that the reader writes, and is it safe?

import { ApiError, type Draft, type DraftChange, type DraftSaved, isApiError } from "../../lib/api";
import type { Words } from "../../lib/i18n";

/** What the reader may change. */
export type Fields = Pick<Draft, "findings" | "impression" | "result" | "key_image">;

export type Keeping =
  /** Nothing was written yet, here or on the server. */
  | "empty"
  | "saved"
  | "changed"
  | "saving"
  /** The server does not answer; the text is kept in this browser. */
  | "here"
  /** Another window wrote meanwhile: somebody must choose. */
  | "conflict"
  /** The case is no longer this reader's. */
  | "lost"
  /** The server will not take the text, and will not later either. */
  | "refused";

export interface Kept {
  readonly fields: Fields;
  readonly keeping: Keeping;
  readonly version: number;
  readonly savedAt: string | null;
  /** When the text was put aside in this browser (ms), while keeping is "here" or "lost". */
  readonly hereAt: number | null;
  /** Text of an earlier visit that never reached the server, when it differs from what the server has. */
  readonly found: { readonly fields: Fields; readonly at: number } | null;
  /** The other window's text, while keeping is "conflict". */
  readonly other: Draft | null;
  /** Who has the case now, while keeping is "lost" and it is known: the name in Chinese and in English. */
  readonly holder: Words | null;
  readonly refusal: ApiError | null;
}

interface Put {
  readonly fields: Fields;
  readonly version: number;
  readonly at: number;
}

/** What the keeper needs from outside; a test hands in its own. */
export interface Around {
  save: (change: DraftChange) => Promise<DraftSaved>;
  /** A place in this browser, bound to task and author. */
  storage: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  storageKey: string;
  now: () => number;
  later: (run: () => void, ms: number) => unknown;
  never: (timer: unknown) => void;
  changed: (kept: Kept) => void;
  /** The server gave a new end of the lease. */
  lease: (until: string) => void;
}

/** Whom a refusal names. */
export function holderOf({ details }: ApiError): Words | null {
  if (typeof details.who !== "string") return null;
  return [details.who, typeof details.who_en === "string" ? details.who_en : details.who];
}

const QUIET_MS = 1000;
const AGAIN_MS = [2000, 4000, 8000, 15_000];

export const draftKey = (taskId: string, author: string): string => `teleread.draft.${author}.${taskId}`;

const same = (a: Fields, b: Fields): boolean => JSON.stringify(ordered(a)) === JSON.stringify(ordered(b));
const ordered = ({ findings, impression, result, key_image }: Fields): unknown[] => [findings, impression, result, key_image];
const isEmpty = (fields: Fields): boolean =>
  fields.findings === "" && fields.impression === "" && fields.result === null && fields.key_image === null;

/**
 * Saves one second after the last change, one request at a time, always the newest text.
 *
 * When the server does not answer, the text goes into this browser's storage and is sent again later. It is put there
 * only then: a workstation should not collect patients' texts.
 */
export class DraftKeeper {
  readonly #around: Around;
  #kept: Kept;
  #saved: Fields;
  #timer: unknown = null;
  #running: Promise<void> | null = null;
  #failures = 0;
  #finished = false;

  constructor(draft: Draft, around: Around) {
    this.#around = around;
    this.#saved = fieldsOf(draft);
    this.#kept = {
      fields: this.#saved, keeping: isEmpty(this.#saved) ? "empty" : "saved", version: draft.draft_version, savedAt: draft.saved_at,
      hereAt: null, found: null, other: null, holder: null, refusal: null,
    };
    this.#lookForEarlier();
  }

  get kept(): Kept {
    return this.#kept;
  }

  /** Is the text on the server exactly what is on the screen? */
  get onServer(): boolean {
    return same(this.#kept.fields, this.#saved);
  }

  /** Nothing of the reader's own is in it: only then may "normal" fill it. */
  get untouched(): boolean {
    return isEmpty(this.#kept.fields);
  }

  change(part: Partial<Fields>): void {
    if (this.#kept.keeping === "lost") return;
    const fields = { ...this.#kept.fields, ...part };
    if (same(fields, this.#kept.fields)) return;
    const keeping = this.#kept.keeping === "conflict" ? "conflict" : this.#kept.keeping === "here" ? "here" : "changed";
    this.#set({ fields, keeping, refusal: null });
    if (keeping === "here") this.#putHere();
    if (keeping !== "conflict") this.#plan(QUIET_MS);
  }

  /** Save now what is not saved. Resolves when the server has it, or when it is known that it has not. */
  async flush(): Promise<boolean> {
    for (let tries = 0; tries < 3 && !this.onServer && this.#mayTry(); tries++) {
      this.#cancel();
      await (this.#running ?? this.#save());
      if (this.#kept.keeping === "here") break;
    }
    return this.onServer;
  }

  /** Use, or forget, the text found from an earlier visit. */
  settleFound(use: boolean): void {
    const found = this.#kept.found;
    if (found === null) return;
    this.#set({ found: null });
    if (use) this.change(found.fields);
    else this.#around.storage.removeItem(this.#around.storageKey);
  }

  /** Two windows wrote: keep the text of this one, or take the other's. */
  settleConflict(mine: boolean): void {
    const other = this.#kept.other;
    if (other === null) return;
    this.#saved = fieldsOf(other);
    const fields = mine ? this.#kept.fields : this.#saved;
    this.#set({ fields, version: other.draft_version, savedAt: other.saved_at, other: null, keeping: mine ? "changed" : "saved" });
    if (mine) this.#plan(0);
  }

  /** The case is somebody else's, or nobody's. The text is kept here for its author. */
  lose(holder: Words | null): void {
    this.#cancel();
    if (!this.onServer) this.#putHere();
    this.#set({ keeping: "lost", holder });
  }

  /** The report is signed, or the case given back: nothing of it stays in this browser, nothing more is saved. */
  finish(): void {
    this.#finished = true;
    this.#cancel();
    this.#around.storage.removeItem(this.#around.storageKey);
  }

  /** The page goes away now: what is not on the server is put aside, and one last save is tried by the caller. */
  leave(): DraftChange | null {
    this.#cancel();
    if (this.onServer || !this.#mayTry()) return null;
    this.#putHere();
    return changeOf(this.#kept);
  }

  stop(): void {
    this.#cancel();
  }

  #mayTry(): boolean {
    return !this.#finished && !["lost", "conflict", "refused"].includes(this.#kept.keeping);
  }

  #plan(ms: number): void {
    this.#cancel();
    this.#timer = this.#around.later(() => {
      this.#timer = null;
      if (this.#running === null) void this.#save();
    }, ms);
  }

  #cancel(): void {
    if (this.#timer !== null) this.#around.never(this.#timer);
    this.#timer = null;
  }

  #save(): Promise<void> {
    this.#running ??= this.#saveOnce().finally(() => {
      this.#running = null;
      if (this.#kept.keeping === "changed" && this.#timer === null) this.#plan(QUIET_MS);
    });
    return this.#running;
  }

  async #saveOnce(): Promise<void> {
    if (this.onServer) {
      this.#set({ keeping: isEmpty(this.#saved) && this.#kept.savedAt === null ? "empty" : "saved" });
      return;
    }
    const sent = this.#kept.fields;
    if (this.#kept.keeping !== "here") this.#set({ keeping: "saving" });
    try {
      const saved = await this.#around.save(changeOf(this.#kept));
      this.#taken(sent, saved);
    } catch (error) {
      this.#failed(error);
    }
  }

  #taken(sent: Fields, saved: DraftSaved): void {
    this.#failures = 0;
    this.#saved = sent;
    this.#around.storage.removeItem(this.#around.storageKey);
    this.#around.lease(saved.lease_until);
    const keeping = this.onServer ? "saved" : "changed";
    this.#set({ keeping, version: saved.draft_version, savedAt: saved.saved_at, hereAt: null });
  }

  #failed(error: unknown): void {
    if (isApiError(error, "draft_conflict") && error.details.draft !== undefined) {
      this.#meet(error.details.draft as Draft);
    } else if (isApiError(error, "lease_lost")) {
      this.lose(holderOf(error));
    } else if (error instanceof ApiError && error.status >= 400 && error.status < 500 && ![401, 408, 423, 429].includes(error.status)) {
      this.#putHere();
      this.#set({ keeping: "refused", refusal: error });
    } else {
      this.#putHere();
      this.#set({ keeping: "here" });
      this.#plan(AGAIN_MS[Math.min(this.#failures++, AGAIN_MS.length - 1)] ?? QUIET_MS);
    }
  }

  /** An answer that was lost on the way looks like a conflict with oneself: the server then has our text. */
  #meet(other: Draft): void {
    if (!same(fieldsOf(other), this.#kept.fields)) {
      this.#set({ keeping: "conflict", other });
      return;
    }
    this.#saved = fieldsOf(other);
    this.#around.storage.removeItem(this.#around.storageKey);
    this.#set({ keeping: "saved", version: other.draft_version, savedAt: other.saved_at, hereAt: null });
  }

  #putHere(): void {
    const at = this.#around.now();
    const put: Put = { fields: this.#kept.fields, version: this.#kept.version, at };
    try {
      this.#around.storage.setItem(this.#around.storageKey, JSON.stringify(put));
      this.#set({ hereAt: at });
    } catch {
      // A full or forbidden storage: the text stays on the screen, and the line under it says that it is not saved.
    }
  }

  #lookForEarlier(): void {
    const text = this.#around.storage.getItem(this.#around.storageKey);
    if (text === null) return;
    const put = parsed(text);
    if (put === null || same(put.fields, this.#saved)) {
      this.#around.storage.removeItem(this.#around.storageKey);
    } else if (put.version === this.#kept.version) {
      // Nothing happened on the server since: this is simply the newer text.
      this.#kept = { ...this.#kept, fields: put.fields, keeping: "here", hereAt: put.at };
      this.#plan(0);
    } else {
      this.#kept = { ...this.#kept, found: { fields: put.fields, at: put.at } };
    }
  }

  #set(part: Partial<Kept>): void {
    this.#kept = { ...this.#kept, ...part };
    this.#around.changed(this.#kept);
  }
}

function fieldsOf({ findings, impression, result, key_image }: Draft): Fields {
  return { findings, impression, result, key_image };
}

function changeOf({ fields, version }: Kept): DraftChange {
  return { draft_version: version, ...fields };
}

function parsed(text: string): Put | null {
  try {
    const put = JSON.parse(text) as Put;
    return typeof put.fields.findings === "string" && typeof put.fields.impression === "string" ? put : null;
  } catch {
    return null;
  }
}

// May this report be signed now, and what becomes of the press?

import { ApiError, isApiError, type SignRequest, type Signed } from "../../lib/api";
import type { Fields } from "./draft";
import { BLANK } from "./phrases";

/** What still stands between the reader and the signature, the first thing first. */
export type Hindrance =
  | "read_only"
  | "lost"
  | "not_painted"
  | "late_unseen"
  | "no_impression"
  | "no_result"
  | "blank"
  | "not_on_server"
  | "stale";

export interface Facts {
  readonly editable: boolean;
  readonly lost: boolean;
  readonly painted: boolean;
  readonly late: number;
  readonly fields: Fields;
  /** Saving was tried and the server has not got the text. */
  readonly notOnServer: boolean;
  /** Nothing was heard of the server for too long. */
  readonly stale: boolean;
}

export function hindranceOf(facts: Facts): Hindrance | null {
  if (!facts.editable) return "read_only";
  if (facts.lost) return "lost";
  if (!facts.painted) return "not_painted";
  if (facts.late > 0) return "late_unseen";
  if (facts.stale) return "stale";
  if (facts.notOnServer) return "not_on_server";
  if (facts.fields.impression.trim() === "") return "no_impression";
  if (blankIn(facts.fields) !== null) return "blank";
  if (facts.fields.result === null) return "no_result";
  return null;
}

/** The text in which a phrase still waits to be filled in. */
export function blankIn(fields: Fields): "findings" | "impression" | null {
  return (["findings", "impression"] as const).find((part) => fields[part].includes(BLANK)) ?? null;
}

/** A press must not wait on a dead line for ever; the next one asks about the same request again. */
const AGAIN = 2;

/**
 * Sends at most one request at a time, each press with its own id.
 *
 * When no answer comes, the outcome is unknown: the same request is sent again under the same id, by itself and by the
 * next press, so that the server can answer with the first result. Only a refusal makes room for a new id.
 */
export class Signer {
  readonly #send: (request: SignRequest) => Promise<Signed>;
  readonly #makeId: () => string;
  #open: SignRequest | null = null;
  #running: Promise<Signed> | null = null;

  constructor(send: (request: SignRequest) => Promise<Signed>, makeId: () => string = () => crypto.randomUUID()) {
    this.#send = send;
    this.#makeId = makeId;
  }

  get busy(): boolean {
    return this.#running !== null;
  }

  /** An earlier press whose outcome is not known. */
  get unknown(): boolean {
    return this.#open !== null && this.#running === null;
  }

  /** One press. While another is under way, both get the same answer. */
  press(what: Omit<SignRequest, "request_id">): Promise<Signed> {
    this.#running ??= this.#go(what).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #go(what: Omit<SignRequest, "request_id">): Promise<Signed> {
    const request = (this.#open ??= { ...what, request_id: this.#makeId() });
    for (let tries = 0; ; tries++) {
      try {
        const signed = await this.#send(request);
        this.#open = null;
        return signed;
      } catch (error) {
        if (!isUnknown(error)) this.#open = null;
        if (!isUnknown(error) || tries >= AGAIN) throw error;
      }
    }
  }
}

/** No answer, or one that does not say whether it happened. */
function isUnknown(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 0 || error.status >= 500 || error.status === 408);
}

/** Where the focus goes when the server refuses. */
export function fieldOf(error: unknown): "impression" | "findings" | "result" | "password" | null {
  if (isApiError(error, "signing_locked")) return "password";
  if (!isApiError(error, "report_incomplete") && !isApiError(error, "not_printable")) return null;
  const fields = error.details.fields;
  const first = Array.isArray(fields) ? String(fields[0]) : "";
  return first === "findings" || first === "result" ? first : "impression";
}

// What can the pages ask the server, and what comes back?
import { noteServerTime } from "./time";

// ---- words -------------------------------------------------------------------------------------------------------
export type Priority = "emergency" | "urgent" | "routine";
export type Kind = "ECG" | "CT" | "MR" | "DX" | "US" | "OT";
export type Specialty = "ecg" | "images";
export type Result = "normal" | "abnormal" | "critical" | "unreadable";
export type Role = "doctor" | "reader" | "reviewer" | "coordinator" | "admin" | "auditor";
export type TaskState = "OPEN" | "CLAIMED" | "COMPLETED" | "CANCELLED" | "RETURNED";
export type Tab = "all" | "ecg" | "images" | "mine";
export type ReturnReason = "electrodes" | "noise" | "wrong_patient" | "incomplete_series" | "positioning" | "other";
export type ReportState = "signed" | "final" | "replaced" | "withdrawn" | "taken_back";
export type Mark =
  | "no_patient_id" | "charset_guessed" | "identity_conflict" | "late_instances" | "uid_conflict" | "clock_off" | "follows_report" | "damaged";

/** Instants are ISO 8601 in UTC with Z; dates are YYYY-MM-DD. */
export type Instant = string;

// ---- session -----------------------------------------------------------------------------------------------------
export interface User {
  name: string;
  display: string;
  display_en: string;
  roles: Role[];
  licence_number: string | null;
  phone: string | null;
}

export interface Site {
  key: string;
  name: string;
  name_en: string;
  kind: "center" | "hospital";
  phone: string | null;
}

export interface Session {
  user: User;
  /** With the zone in which the Site's days and clocks are shown. */
  site: Site & { timezone: string };
  csrf: string;
  /** Until when signing needs no password here; null when it is locked. */
  signing_until: Instant | null;
  idle_seconds: number;
  server_time: Instant;
}

// ---- worklist ----------------------------------------------------------------------------------------------------
export interface Patient {
  name: string;
  name_latin: string | null;
  id: string | null;
  sex: "M" | "F" | "O" | null;
  birth_date: string | null;
  /** "58Y", "4M". */
  age: string | null;
}

export interface SiteName {
  key: string;
  name: string;
  name_en: string;
}

export interface Holder {
  name: string;
  display: string;
  display_en: string;
  since: Instant;
}

export interface StudyBrief {
  id: string;
  uid: string;
  description: string;
  date: string | null;
  accession: string | null;
  modalities: string[];
  series_count: number;
  instance_count: number;
  received_at: Instant;
  acquired_at: Instant | null;
}

export interface Task {
  id: string;
  version: number;
  kind: Kind;
  specialty: Specialty;
  priority: Priority;
  state: TaskState;
  due_at: Instant;
  target_seconds: number;
  received_at: Instant;
  lease_until: Instant | null;
  claimed_by: Holder | null;
  mine: boolean;
  draft_saved_at: Instant | null;
  patient: Patient;
  site: SiteName;
  study: StudyBrief;
  question: string | null;
  marks: Mark[];
  follows: { task_id: string; report_id: string } | null;
}

/** A task that left the list (from the live stream). */
export interface GoneTask {
  id: string;
  gone: true;
}

export interface TaskPage {
  tasks: Task[];
  counts: Record<Tab, number>;
  sites: SiteName[];
  next: string | null;
  as_of: Instant;
}

export interface Earlier {
  study_id: string;
  report_id: string | null;
  date: string;
  kind: Kind;
  impression: string | null;
  result: Result | null;
}

export interface TaskDetail extends Task {
  timeline: { at: Instant; what: string; who: string | null }[];
  earlier: Earlier[];
  contacts: { requester: string | null; site_phone: string | null };
  preview: { kind: "ecg" | "image" | "none" };
}

export interface Instance {
  uid: string;
  /** Names its content: another one under the same UID has another. */
  v: string;
  number: number | null;
  sop_class: string;
  frames: number;
  rows: number | null;
  columns: number | null;
  kind: "image" | "ecg" | "pdf" | "other";
  frame_time_ms: number | null;
}

export interface Series {
  uid: string;
  modality: string;
  number: number | null;
  description: string | null;
  body_part: string | null;
  instances: Instance[];
}

export interface KeyImage {
  sop_uid: string;
  frame: number;
  window: { center: number; width: number } | null;
}

export interface Draft {
  draft_version: number;
  findings: string;
  impression: string;
  result: Result | null;
  key_image: KeyImage | null;
  saved_at: Instant | null;
  author: string | null;
}

export interface Institution {
  name: string;
  name_en: string;
  phone: string | null;
}

/** How a text is read whose bytes contradict its label; `labelled` is "" where there is none. */
export interface TextRepair {
  labelled: string;
  proposed: string;
  /** 0 to 1. */
  confidence: number;
  state: "proposed" | "accepted" | "rejected";
}

export interface Case {
  task: Task;
  editable: boolean;
  study: { id: string; uid: string; site: string; series: Series[]; text_repair: TextRepair | null };
  draft: Draft;
  /** SOP Instance UIDs that came after the case was opened and were not yet seen. */
  late: string[];
  earlier: Earlier[];
  institution: { hospital: Institution; center: Institution };
  grace_seconds: number;
  reader: { name: string; display: string; licence_number: string | null };
}

export interface DraftChange {
  draft_version: number;
  findings: string;
  impression: string;
  result: Result | null;
  key_image: KeyImage | null;
}

export interface DraftSaved {
  draft_version: number;
  saved_at: Instant;
  lease_until: Instant;
}

export interface Painted {
  sop_uid: string;
  v: string;
}

export interface SignRequest {
  /** A UUID made once per key press: sent again, the first result comes back. */
  request_id: string;
  study_id: string;
  draft_version: number;
  /** What this page has painted, each in the content that was shown. */
  painted: readonly Painted[];
}

export interface Signed {
  report_id: string;
  version: number;
  signed_at: Instant;
  effective_at: Instant;
  grace_seconds: number;
  verify_path: string;
}

// ---- reports -----------------------------------------------------------------------------------------------------
export interface ReportRow {
  id: string;
  version: number;
  task_id: string;
  study_id: string;
  patient: Patient;
  kind: Kind;
  study_description: string;
  site: SiteName;
  result: Result;
  state: ReportState;
  signed_at: Instant;
  effective_at: Instant;
  author: string;
  impression: string;
  opened_at: Instant | null;
  acknowledged_at: Instant | null;
  study_newer: boolean;
}

export interface Report extends ReportRow {
  findings: string;
  versions: { id: string; version: number; state: ReportState; signed_at: Instant }[];
  verify_path: string;
  reason: string | null;
}

/** A report this person has opened was withdrawn or replaced since. */
export interface Notice {
  id: number;
  what: string;
  report_id: string;
  replaced_by: string | null;
  patient: Patient;
  reason: string | null;
  told_at: Instant;
}

// ---- center ------------------------------------------------------------------------------------------------------
export type CenterState =
  | "receiving" | "waiting" | "reading" | "report_ready" | "opened" | "confirmed" | "please_repeat" | "critical";

export interface CenterStudy {
  study_id: string;
  task_id: string | null;
  patient: Patient;
  kind: Kind;
  description: string;
  acquired_at: Instant | null;
  received_at: Instant;
  step: 1 | 2 | 3 | 4 | 5;
  state: CenterState;
  reader: string | null;
  due_at: Instant | null;
  result: Result | null;
  report: {
    id: string;
    version: number;
    state: ReportState;
    signed_at: Instant;
    impression: string;
    study_newer: boolean;
    replaced_by: string | null;
  } | null;
  delivery: {
    sent_at: Instant | null;
    opened_at: Instant | null;
    opened_by: string | null;
    acknowledged_at: Instant | null;
    acknowledged_by: string | null;
  } | null;
  repeat: { reason_code: ReturnReason; note: string | null } | null;
  marks: Mark[];
  text_repair: TextRepair | null;
}

export interface CenterDay {
  studies: CenterStudy[];
  counts: Record<string, number>;
  next?: string | null;
  as_of: Instant;
}

export interface Critical {
  id: string;
  report_id: string;
  patient: Patient;
  kind: Kind;
  site: SiteName;
  impression: string;
  told_at: Instant;
  /** Since when the coordinator must act, because the center did not answer. */
  escalated_at?: Instant | null;
  signed_by: { display: string; display_en: string; phone: string | null };
  /** Whom the person looking at this should call. */
  call: { name: string; phone: string | null };
  choices: [string, string, string];
  ecg_study_id: string | null;
}

export interface ReadBack {
  last_four: string;
  finding: string;
  patient_is: "here" | "called" | "not_reached";
}

export interface Board {
  figures: {
    open: number;
    at_risk: number;
    late: number;
    critical_open: number;
    readers_active: number;
    in_time_percent: number | null;
  };
  attention: {
    kind: "late" | "at_risk" | "unopened" | "critical" | "job";
    task_id: string | null;
    report_id: string | null;
    /** Null for jobs that were given up. */
    patient: Patient | null;
    site: SiteName;
    since: Instant;
    owner: string | null;
    phone: string | null;
    /** Which kind of job was given up, and how many of it. */
    job?: string;
    count?: number;
  }[];
  readers: {
    name: string;
    display: string;
    display_en: string;
    reading: { kind: Kind; since: Instant } | null;
    today: number;
  }[];
  critical: Critical[];
}

// ---- viewing -----------------------------------------------------------------------------------------------------
export type LeadName = "I" | "II" | "III" | "aVR" | "aVL" | "aVF" | "V1" | "V2" | "V3" | "V4" | "V5" | "V6";

export interface EcgLead {
  name: LeadName | string;
  /** base64 of little-endian float32, in microvolts. */
  samples_uv: string;
  min_uv: number;
  max_uv: number;
}

export interface EcgRecording {
  sop_uid: string;
  /** The content of the instance it was read from. */
  v: string;
  acquired_at: Instant | null;
  sampling_hz: number;
  seconds: number;
  leads: EcgLead[];
  filter: { low_hz: number | null; high_hz: number | null; notch_hz: number | null };
  device: { manufacturer: string | null; model: string | null; serial: string | null };
  device_values: {
    heart_rate_bpm: number | null;
    pr_ms: number | null;
    qrs_ms: number | null;
    qt_ms: number | null;
    qtc_ms: number | null;
    axis_deg: { p: number | null; qrs: number | null; t: number | null };
    statements: string[];
  };
  problems: string[];
}

export interface Phrase {
  code: string;
  kind: Kind;
  zh: string;
  en: string;
  part: "findings" | "impression" | "both";
  /** 1–9: the favourite's number key. */
  key: number | null;
  pinyin: string;
}

export interface Phrases {
  phrases: Phrase[];
  normal: { findings: { zh: string; en: string }; impression: { zh: string; en: string } };
}

// ---- verify ------------------------------------------------------------------------------------------------------
export interface Verification {
  state: "genuine" | "replaced" | "withdrawn" | "unknown";
  kind: Kind;
  hospital: string;
  center: string;
  signed_by: string;
  licence_number: string | null;
  signed_at: Instant;
  version: number;
  patient_masked: string;
  replaced_by: string | null;
}

export interface FileVerification extends Verification {
  matches: boolean;
  why: string;
}

// ---- errors ------------------------------------------------------------------------------------------------------
/** A refusal of the server, or "offline" (status 0) when it could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(status: number, code: string, message: string, details: Record<string, unknown> = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

export const isApiError = (error: unknown, code?: string): error is ApiError =>
  error instanceof ApiError && (code === undefined || error.code === code);

// ---- the wire ----------------------------------------------------------------------------------------------------
export interface Doors {
  /** 401 on a request that needed a session. */
  signedOut: () => void;
  /** 423: the server has locked this session for being idle. Given the person whose session it is, where it said so. */
  locked: (person: unknown) => void;
  /** 403 forged_request: the cookie belongs to another session than this page. */
  changed: () => void;
}

let csrf = "";
let doors: Doors = { signedOut: () => undefined, locked: () => undefined, changed: () => undefined };

/** Told once by the session: whom to tell when the server says "signed out" or "locked". */
export function onDoor(told: Doors): void {
  doors = told;
}

/** The value for X-CSRF-Token; pages that send their own requests (STOW, verify) use it too. */
export const csrfToken = (): string => csrf;

function noted(session: Session): Session {
  csrf = session.csrf;
  noteServerTime(session.server_time);
  return session;
}

async function refusal(response: Response): Promise<ApiError> {
  let body: Record<string, unknown> = {};
  try {
    body = (await response.json()) as Record<string, unknown>;
  } catch {
    // A proxy may answer in HTML; the status alone then has to do.
  }
  const { code, message, ...details } = body;
  const retry = response.headers.get("Retry-After");
  if (retry !== null && details.retry_after_seconds === undefined) details.retry_after_seconds = Number(retry);
  return new ApiError(
    response.status,
    typeof code === "string" ? code : `http_${response.status}`,
    typeof message === "string" ? message : `HTTP ${response.status}`,
    details,
  );
}

interface Sending {
  method?: string;
  json?: unknown;
  body?: BodyInit;
  type?: string;
  signal?: AbortSignal;
  /** Say nothing to the doors on 401 and 423 (the session's own questions). */
  quiet?: boolean;
  /** Milliseconds; a hanging line must not look like a slow server for ever. */
  patience?: number;
  keepalive?: boolean;
}

/** One request; resolves to the response, throws ApiError for anything but 2xx. */
export async function send(path: string, sending: Sending = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json" };
  const method = sending.method ?? "GET";
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (sending.json !== undefined) headers["Content-Type"] = "application/json";
  else if (sending.type !== undefined) headers["Content-Type"] = sending.type;
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      credentials: "same-origin",
      cache: "no-store",
      body: sending.json !== undefined ? JSON.stringify(sending.json) : (sending.body ?? null),
      signal: sending.signal ?? AbortSignal.timeout(sending.patience ?? 30_000),
      keepalive: sending.keepalive ?? false,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "offline", "The server cannot be reached");
  }
  if (response.ok) return response;
  const error = await refusal(response);
  if (sending.quiet !== true) {
    if (error.status === 401) doors.signedOut();
    if (error.status === 423) doors.locked(error.details.user ?? null);
    if (error.code === "forged_request") doors.changed();
  }
  throw error;
}

async function ask<T>(path: string, sending: Sending = {}): Promise<T> {
  const response = await send(path, sending);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

const post = <T>(path: string, json?: unknown, more: Sending = {}): Promise<T> => ask<T>(path, { ...more, method: "POST", json: json ?? {} });

function query(path: string, values: Record<string, string | number | null | undefined>): string {
  const said = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  if (said.length === 0) return path;
  return `${path}?${new URLSearchParams(said.map(([key, value]) => [key, String(value)]))}`;
}

const at = (...parts: string[]): string => parts.map(encodeURIComponent).join("/");

export interface TaskQuery {
  tab?: Tab;
  priority?: Priority | null;
  site?: string | null;
  q?: string | null;
  after?: string | null;
  limit?: number;
}

/** Every question of the pages, by room. */
export const api = {
  session: {
    get: async (): Promise<Session> => noted(await ask<Session>("/api/session", { quiet: true })),
    signIn: async (name: string, password: string): Promise<Session> =>
      noted(await post<Session>("/api/session", { name, password }, { quiet: true })),
    signOut: (): Promise<void> => ask("/api/session", { method: "DELETE", quiet: true }),
    lock: (): Promise<void> => post("/api/session/lock", {}, { quiet: true }),
    unlock: async (password: string): Promise<Session> => noted(await post<Session>("/api/session/unlock", { password }, { quiet: true })),
    /** Unlock signing for the policy's minutes. */
    signing: async (password: string): Promise<Session> => noted(await post<Session>("/api/session/signing", { password }, { quiet: true })),
  },

  tasks: {
    /** A search goes in the body: names and numbers of patients must not stand in a URL. */
    list: (asked: TaskQuery = {}, signal?: AbortSignal): Promise<TaskPage> => {
      const more = signal === undefined ? {} : { signal };
      return asked.q ? post("/api/tasks/find", asked, more) : ask(query("/api/tasks", { ...asked, q: null }), more);
    },
    get: (id: string, signal?: AbortSignal): Promise<TaskDetail> => ask(`/api/tasks/${at(id)}`, signal === undefined ? {} : { signal }),
    claim: (id: string): Promise<Case> => post(`/api/tasks/${at(id)}/claim`),
    release: (id: string): Promise<void> => post(`/api/tasks/${at(id)}/release`),
    extend: (id: string): Promise<{ lease_until: Instant }> => post(`/api/tasks/${at(id)}/extend`),
    case: (id: string): Promise<Case> => ask(`/api/tasks/${at(id)}/case`),
    /** `keepalive` lets the last save outlive the page. */
    saveDraft: (id: string, draft: DraftChange, keepalive = false): Promise<DraftSaved> =>
      ask(`/api/tasks/${at(id)}/draft`, { method: "PUT", json: draft, keepalive }),
    seen: (id: string, sopUids: string[]): Promise<Case["late"]> => post(`/api/tasks/${at(id)}/seen`, { sop_uids: sopUids }),
    sign: (id: string, request: SignRequest): Promise<Signed> => post(`/api/tasks/${at(id)}/sign`, request),
    return: (id: string, reason: ReturnReason, note: string | null): Promise<void> =>
      post(`/api/tasks/${at(id)}/return`, { reason_code: reason, note }),
  },

  reports: {
    mine: (after?: string): Promise<{ reports: ReportRow[]; next?: string | null }> => ask(query("/api/reports", { mine: 1, after })),
    get: (id: string): Promise<Report> => ask(`/api/reports/${at(id)}`),
    pdfPath: (id: string): string => `/api/reports/${at(id)}/pdf`,
    takeBack: (id: string): Promise<{ task_id: string }> => post(`/api/reports/${at(id)}/take-back`),
    withdraw: (id: string, reason: string): Promise<ReportRow> => post(`/api/reports/${at(id)}/withdraw`, { reason }),
    replace: (id: string, reason: string): Promise<{ task_id: string }> => post(`/api/reports/${at(id)}/replace`, { reason }),
    acknowledge: (id: string): Promise<CenterStudy> => post(`/api/reports/${at(id)}/acknowledge`),
  },

  center: {
    /** A search goes in the body: names and numbers of patients must not stand in a URL. */
    studies: (asked: { day?: string; q?: string; after?: string }): Promise<CenterDay> =>
      asked.q ? post("/api/center/studies/find", asked) : ask(query("/api/center/studies", { ...asked, q: null })),
  },

  critical: {
    open: (): Promise<{ open: Critical[] }> => ask("/api/critical"),
    confirm: (id: string, readBack: ReadBack): Promise<{ confirmed_at: Instant; confirmed_by: string }> =>
      post(`/api/critical/${at(id)}/confirm`, readBack),
  },

  notices: {
    unseen: (): Promise<{ notices: Notice[] }> => ask("/api/notices"),
    seen: (id: number): Promise<void> => post(`/api/notices/${id}/seen`),
  },

  board: (): Promise<Board> => ask("/api/board"),

  studies: {
    ecg: (studyId: string): Promise<{ recordings: EcgRecording[] }> => ask(`/api/studies/${at(studyId)}/ecg`),
    previewSvgPath: (studyId: string): string => `/api/studies/${at(studyId)}/preview.svg?dark=1`,
    previewJpgPath: (studyId: string): string => `/api/studies/${at(studyId)}/preview.jpg`,
    documentPath: (studyId: string, sopUid: string, v: string): string => query(`/api/studies/${at(studyId)}/documents/${at(sopUid)}`, { v }),
  },

  phrases: (kind: Kind): Promise<Phrases> => ask(query("/api/phrases", { kind })),

  verify: {
    get: (id: string): Promise<Verification> => ask(`/api/verify/${at(id)}`, { quiet: true }),
    file: (id: string, file: Blob): Promise<FileVerification> =>
      ask(`/api/verify/${at(id)}`, { method: "POST", body: file, type: "application/pdf", quiet: true, patience: 120_000 }),
  },
};

/** The base of the DICOMweb service that shows one study of one site. */
export const dicomWebRoot = (siteKey: string): string => `/dicom-web/sites/${at(siteKey)}`;

/** The small picture of an instance in one content; kept by the browser for good. */
export const thumbnailPath = (siteKey: string, studyUid: string, seriesUid: string, sopUid: string, v: string): string =>
  query(`${dicomWebRoot(siteKey)}/studies/${studyUid}/series/${seriesUid}/instances/${sopUid}/thumbnail`, { v });

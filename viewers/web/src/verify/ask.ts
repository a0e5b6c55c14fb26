// How does a file get to the server, with its progress on the way?
import { ApiError, csrfToken, type FileVerification } from "../lib/api";

const PATIENCE_MS = 180_000;

/** Send the file for comparison; `progress` hears 0–1. Rejects with ApiError; fetch cannot tell how far an upload is. */
export function askAboutFile(id: string, file: Blob, progress: (share: number) => void): Promise<FileVerification> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/verify/${encodeURIComponent(id)}`);
    request.setRequestHeader("Content-Type", "application/pdf");
    request.setRequestHeader("Accept", "application/json");
    if (csrfToken() !== "") request.setRequestHeader("X-CSRF-Token", csrfToken());
    request.timeout = PATIENCE_MS;
    request.upload.onprogress = (event) => { if (event.lengthComputable) progress(event.loaded / event.total); };
    request.onerror = request.ontimeout = () => reject(new ApiError(0, "offline", "The server cannot be reached"));
    request.onload = () => {
      const body = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300 && body !== null) return resolve(body as unknown as FileVerification);
      const { code, message, ...details } = body ?? {};
      const retry = request.getResponseHeader("Retry-After");
      reject(new ApiError(request.status, String(code ?? `http_${request.status}`), String(message ?? ""), retry === null ? details : { retry_after_seconds: Number(retry), ...details }));
    };
    request.send(file);
  });
}

function parsed(text: string): Record<string, unknown> | null {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
}

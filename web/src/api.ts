// The server, as the webmail sees it: sign-in, JSON-RPC with JMAP's names (RFC 8620, RFC 8621),
// events, and the addresses of letters and attachments. Nothing else in web/ knows a URL or a
// wire name. It holds the CSRF token and knows nothing about views.

export type Address = { name: string | null; email: string };

export type Mailbox = {
  id: string;
  name: string;
  parentId: string | null;
  role: string | null;
  sortOrder: number;
  totalEmails: number;
  unreadEmails: number;
};

export type Keywords = Record<string, true>;

/** What a row of the list needs. */
export type Email = {
  id: string;
  mailboxIds: Record<string, true>;
  keywords: Keywords;
  receivedAt: string;
  from: Address[] | null;
  to: Address[] | null;
  subject: string | null;
  preview: string;
  hasAttachment: boolean;
  size: number;
};

export type Attachment = {
  partId: string | null;
  blobId: string;
  name: string | null;
  type: string;
  size: number;
  disposition: string | null;
  cid: string | null;
};

/** What the reading pane needs on top. */
export type Letter = Email & {
  cc: Address[] | null;
  replyTo: Address[] | null;
  sentAt: string | null;
  attachments: Attachment[];
  hasRemoteImages?: boolean;
  'header:X-Spam-Status:asText'?: string | null;
};

export type Page = { ids: string[]; total: number; position: number; emails: Email[] };
export type Session = { user: string; account: string };
export type Patch = Record<string, unknown>;

export type Trouble = 'network' | 'signedOut' | 'denied' | 'throttled' | 'gone' | 'server';

export class ApiError extends Error {
  constructor(
    readonly trouble: Trouble,
    message = '',
    readonly retryAfterS = 0,
  ) {
    super(message);
  }
}

const ROW = [
  'id',
  'mailboxIds',
  'keywords',
  'receivedAt',
  'from',
  'to',
  'subject',
  'preview',
  'hasAttachment',
  'size',
];
const LETTER = [
  ...ROW,
  'cc',
  'replyTo',
  'sentAt',
  'attachments',
  'hasRemoteImages',
  'header:X-Spam-Status:asText',
];

let csrf = '';
let account = '';

/**
 * Called when the server no longer knows us; the promise settles once the reader has signed in
 * again, and the call that was refused is then made once more.
 */
let signInAgain: () => Promise<void> = () => Promise.reject(new ApiError('signedOut'));

export function onSignedOut(ask: () => Promise<void>): void {
  signInAgain = ask;
}

// --- Session -----------------------------------------------------------------------------

export async function login(user: string, password: string): Promise<Session> {
  const answer = await send('/auth/login', json({ user, password }));
  if (answer.status === 401 || answer.status === 403) throw new ApiError('denied');
  return keepSession(answer);
}

/** The session of our cookie; fails with `signedOut` when there is none. */
export async function session(): Promise<Session> {
  const answer = await send('/auth/session', {});
  if (answer.status === 401) throw new ApiError('signedOut');
  return keepSession(answer);
}

export async function logout(): Promise<void> {
  await send('/auth/logout', { method: 'POST', headers: { 'X-CSRF-Token': csrf } });
}

async function keepSession(answer: Response): Promise<Session> {
  refuse(answer);
  const body = (await answer.json()) as Session & { csrf: string };
  csrf = body.csrf;
  account = body.account;
  return { user: body.user, account: body.account };
}

// --- Mail --------------------------------------------------------------------------------

export async function getMailboxes(): Promise<Mailbox[]> {
  const [answer] = await calls([['Mailbox/get', { ids: null }]]);
  return (answer as { list: Mailbox[] }).list;
}

/** Pages of a folder, newest first; one round trip however many positions are asked for. */
export async function getPages(
  mailboxId: string,
  positions: readonly number[],
  limit: number,
): Promise<Page[]> {
  const batch = positions.flatMap((position, i): Call[] => [
    [
      'Email/query',
      {
        filter: { inMailbox: mailboxId },
        sort: [{ property: 'receivedAt', isAscending: false }],
        position,
        limit,
        calculateTotal: true,
      },
    ],
    [
      'Email/get',
      { '#ids': { resultOf: `c${i * 2}`, name: 'Email/query', path: '/ids' }, properties: ROW },
    ],
  ]);
  const answers = await calls(batch);
  return positions.map((position, i) => {
    const query = answers[i * 2] as { ids: string[]; total: number; position?: number };
    const got = answers[i * 2 + 1] as { list: Email[] };
    return {
      ids: query.ids,
      total: query.total,
      position: query.position ?? position,
      emails: got.list,
    };
  });
}

export async function getLetter(id: string): Promise<Letter> {
  const [answer] = await calls([['Email/get', { ids: [id], properties: LETTER }]]);
  const letter = (answer as { list: Letter[] }).list[0];
  if (!letter) throw new ApiError('gone');
  return letter;
}

/** Changes letters; fails when the server refused even one of them. */
export async function updateEmails(update: Record<string, Patch>): Promise<void> {
  const [answer] = await calls([['Email/set', { update }]]);
  refused((answer as { notUpdated?: Refusals }).notUpdated);
}

/** Deletes letters for good. */
export async function destroyEmails(ids: readonly string[]): Promise<void> {
  const [answer] = await calls([['Email/set', { destroy: ids }]]);
  refused((answer as { notDestroyed?: Refusals }).notDestroyed);
}

type Refusals = Record<string, { type: string; description?: string }> | null;

function refused(refusals: Refusals | undefined): void {
  const first = Object.values(refusals ?? {})[0];
  if (!first) return;
  throw new ApiError(first.type === 'notFound' ? 'gone' : 'server', first.description);
}

// --- Addresses of things that are not JSON --------------------------------------------------

/** The letter as a page of its own; `lang` is for the few words the server adds. */
export function letterUrl(id: string, theme: 'light' | 'dark', lang: string): string {
  return `/message/${encodeURIComponent(id)}/html?images=0&theme=${theme}&lang=${lang}`;
}

export function blobUrl(part: Attachment, name: string): string {
  const file = encodeURIComponent(name.replace(/[/\\]/g, '_'));
  const path = [account, part.blobId].map(encodeURIComponent).join('/');
  return `/blob/${path}/${file}?type=${encodeURIComponent(part.type)}`;
}

/** The stream of `state` events; the caller reconnects. */
export function openEvents(): EventSource {
  return new EventSource('/events');
}

export type StateChange = { changed: Record<string, Record<string, string>> };

/** Which kinds of things changed for us: Email, Mailbox. */
export function changedTypes(data: string): string[] {
  try {
    return Object.keys((JSON.parse(data) as StateChange).changed[account] ?? {});
  } catch {
    return [];
  }
}

// --- JSON-RPC ------------------------------------------------------------------------------

type Call = [method: string, params: object];
type RpcAnswer = {
  id: string | null;
  result?: unknown;
  error?: { code: number; message: string; data?: { type?: string; retryAfter?: number } };
};

/** Runs the calls in order in one request; the i-th has the id `c<i>` for back references. */
async function calls(batch: readonly Call[]): Promise<unknown[]> {
  const body = batch.map(([method, params], i) => ({
    jsonrpc: '2.0',
    id: `c${i}`,
    method,
    params: { accountId: account, ...params },
  }));
  const answers = await rpc(body);
  const byId = new Map(answers.map((answer) => [answer.id, answer]));
  return body.map(({ id }) => {
    const answer = byId.get(id) ?? answers.find((other) => other.error);
    if (!answer) throw new ApiError('server');
    if (answer.error) throw rpcError(answer.error);
    return answer.result;
  });
}

async function rpc(body: unknown): Promise<RpcAnswer[]> {
  for (let tries = 0; ; tries += 1) {
    const answer = await send('/rpc', json(body));
    if (answer.status === 401 && tries < 3) {
      await signInAgain();
      continue;
    }
    if (answer.status === 403 && tries === 0) {
      // The token may have been renewed in another tab: take the current one and try again.
      await session();
      continue;
    }
    refuse(answer);
    const parsed = (await answer.json()) as RpcAnswer | RpcAnswer[];
    const answers = Array.isArray(parsed) ? parsed : [parsed];
    if (tries < 3 && answers.some((one) => one.error?.code === -32001)) {
      await signInAgain();
      continue;
    }
    return answers;
  }
}

function rpcError(error: NonNullable<RpcAnswer['error']>): ApiError {
  const type = error.data?.type ?? '';
  if (error.code === -32001) return new ApiError('signedOut', error.message);
  if (error.code === -32029) {
    return new ApiError('throttled', error.message, error.data?.retryAfter);
  }
  if (type === 'notFound') return new ApiError('gone', error.message);
  return new ApiError('server', error.message);
}

function json(body: unknown): RequestInit {
  return {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': csrf },
    body: JSON.stringify(body),
  };
}

async function send(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { credentials: 'same-origin', cache: 'no-store', ...init });
  } catch {
    throw new ApiError('network');
  }
}

/** Turns any refusal by HTTP into an ApiError. */
function refuse(answer: Response): void {
  if (answer.ok) return;
  if (answer.status === 401) throw new ApiError('signedOut');
  if (answer.status === 429) {
    throw new ApiError('throttled', '', Number(answer.headers.get('Retry-After')) || 5);
  }
  throw new ApiError('server', `${answer.status} ${answer.statusText}`.trim());
}

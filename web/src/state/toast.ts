// One short notice at the bottom, with a way back where there is one.
import { signal } from '@preact/signals';

export type Toast = { text: string; bad?: boolean; undo?: () => void };

const SHOWN_MS = 7000;

export const toast = signal<Toast | null>(null);
/** Said by screen readers only: news that need no space on the screen. */
export const spoken = signal('');

let timer = 0;

export function show(next: Toast): void {
  toast.value = next;
  keepToast();
  timer = window.setTimeout(hideToast, SHOWN_MS);
}

/** While the pointer or the focus is on it, it stays. */
export function keepToast(): void {
  clearTimeout(timer);
}

export function letToastGo(): void {
  keepToast();
  timer = window.setTimeout(hideToast, SHOWN_MS / 2);
}

export function hideToast(): void {
  keepToast();
  toast.value = null;
}

/** Takes back the last move, if its notice is still there. */
export function undoLast(): void {
  const undo = toast.value?.undo;
  hideToast();
  undo?.();
}

import type { ListenAddress } from '../lib/listen-address.ts';
export class AdminServer {
  constructor(_options: unknown) {}
  async listen(_address: ListenAddress): Promise<string> { return ''; }
  close(): void {}
}

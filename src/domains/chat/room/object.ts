import { DurableObject } from 'cloudflare:workers'
import type { Bindings } from '../../../env'

export class ChatRoom extends DurableObject<Bindings> {}

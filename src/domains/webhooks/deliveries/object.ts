import { DurableObject } from 'cloudflare:workers'
import type { Bindings } from '../../../env'

export class EndpointSender extends DurableObject<Bindings> {}

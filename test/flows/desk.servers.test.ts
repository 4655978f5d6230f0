// The desk's story on real PostgreSQL, RabbitMQ, Redis and clamd.
import { deskFlow } from "./DeskFlow.ts"

deskFlow("servers")

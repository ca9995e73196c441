/**
 * Access rules: one for every RPC of every service. An RPC without a rule is refused on every socket that requires
 * authentication; a test looks for such RPCs in all services. Conditions that depend on the requested object (whose
 * file, whose node) are checked by the handler.
 */
import { NexusError } from '../../shared/errors.js';

/**
 * public: everybody who reaches the socket; user: everybody with an account; node manager: administrators, and users
 * for their own nodes if the settings allow them some (checked in controller/node/access.ts); administrator: nobody else.
 */
export type Requirement = 'public' | 'user' | 'node manager' | 'administrator';

export const ACCESS: Readonly<Record<string, Readonly<Record<string, Requirement>>>> = {
  'nexus.v1.NodeService': {
    CreateNode: 'node manager',
    ListNodes: 'user',
    GetNode: 'user',
    StartNode: 'node manager',
    StopNode: 'node manager',
    RestartNode: 'node manager',
    RemoveNode: 'node manager',
    CordonNode: 'administrator',
    UncordonNode: 'administrator',
    DrainNode: 'administrator',
    ResizeNode: 'administrator',
    ExecInNode: 'administrator',
    GetNodeLogs: 'administrator',
    InspectAgent: 'administrator',
    ListAgentChunks: 'administrator',
  },
  'nexus.v1.ImageService': {
    ListImages: 'user',
    ImportImage: 'administrator',
    BuildImage: 'administrator',
    RemoveImage: 'administrator',
  },
  'nexus.v1.FileService': {
    OpenUpload: 'user',
    GrantChunks: 'user',
    CommitUpload: 'user',
    AbortUpload: 'user',
    OpenDownload: 'user',
    FindChunks: 'user',
    ListFiles: 'user',
    GetFile: 'user',
    LocateFile: 'user',
    ReportReplica: 'user',
    ScrubFiles: 'administrator',
    RebalanceFiles: 'administrator',
    RemoveFile: 'user',
  },
  'nexus.v1.FsService': {
    MakeFolder: 'user',
    ListFolder: 'user',
    WalkFolder: 'user',
    StatEntry: 'user',
    GetFolderUsage: 'user',
    OpenFsUpload: 'user',
    OpenFsUploads: 'user',
    CommitFsUploads: 'user',
    PlaceFsUpload: 'user',
    OpenFsDownload: 'user',
    CloseFsDownload: 'user',
    MoveEntry: 'user',
    RemoveEntry: 'user',
    GetQuota: 'user',
    SetQuota: 'administrator',
  },
  'nexus.v1.LambdaService': {
    RunLambda: 'user',
    DeployFunction: 'user',
    ListFunctions: 'user',
    RemoveFunction: 'user',
    InvokeFunction: 'user',
    GetFunctionLogs: 'user',
    GetLambdaStatistics: 'user',
  },
  'nexus.v1.MetricsService': {
    GetNodeMetrics: 'user',
    ListNodeMetrics: 'user',
    GetNodeMetricsHistory: 'user',
    WatchNodeMetrics: 'user',
    GetClusterMetrics: 'public',
  },
  'nexus.v1.StateService': {
    ExportState: 'administrator',
    ImportState: 'administrator',
    RebuildState: 'administrator',
  },
  'nexus.v1.ClusterService': {
    GetReadiness: 'public',
    GetStatus: 'user',
    WatchEvents: 'user',
    Shutdown: 'administrator',
  },
  // Each call inside the stream has its own rule.
  'nexus.v1.ExchangeService': {
    Exchange: 'public',
  },
  'nexus.v1.IdentityService': {
    InitRegistration: 'public',
    VerifyRegistration: 'public',
    InitLogin: 'public',
    VerifyLogin: 'public',
    GetSigningKeys: 'public',
    Logout: 'user',
    WhoAmI: 'user',
    ListUsers: 'administrator',
    CreateUser: 'administrator',
    SetRole: 'administrator',
    SetDisabled: 'administrator',
    RotateSigningKey: 'administrator',
    ListAudit: 'administrator',
  },
};

/** Names the action of each administrators' RPC in the error for callers who may not use it. */
export const ADMINISTRATORS: Readonly<Record<string, string>> = {
  CordonNode: 'cordon nodes',
  UncordonNode: 'uncordon nodes',
  DrainNode: 'drain nodes',
  ResizeNode: 'resize nodes',
  ExecInNode: 'run commands in nodes',
  GetNodeLogs: 'read the logs of nodes',
  InspectAgent: 'inspect agents',
  ListAgentChunks: 'list the chunks of an agent',
  ImportImage: 'import images',
  BuildImage: 'build images',
  RemoveImage: 'remove images',
  ScrubFiles: 'scrub files',
  RebalanceFiles: 'rebalance files',
  SetQuota: 'set quotas',
  ExportState: 'export the state',
  ImportState: 'import a state',
  RebuildState: 'rebuild the state',
  Shutdown: 'stop the cluster',
  ListUsers: 'list users',
  CreateUser: 'create users',
  SetRole: 'change the role of users',
  SetDisabled: 'disable and enable users',
  RotateSigningKey: 'replace the signing key',
  ListAudit: 'read the audit log',
};

/** `method` is the full path, e.g. /nexus.v1.FileService/ListFiles. Undefined: no rule. */
export function requirementOf(method: string): Requirement | undefined {
  const [, service = '', name = ''] = method.split('/');
  const rules = Object.hasOwn(ACCESS, service) ? ACCESS[service] : undefined;
  return rules !== undefined && Object.hasOwn(rules, name) ? rules[name] : undefined;
}

/** Code: permission_denied. */
export function assertMayCall(method: string, requirement: Requirement, isAdministrator: boolean): void {
  if (requirement !== 'administrator' || isAdministrator) return;
  const what = ADMINISTRATORS[method.split('/').at(-1) ?? ''] ?? 'do this';
  throw new NexusError('permission_denied', `only administrators may ${what}; ask one of them`);
}
